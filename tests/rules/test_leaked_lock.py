"""T012: fires, stays quiet, admits blindness."""

from __future__ import annotations

from msgspec.structs import replace

from diag.model.facts import Gap, Where
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.graph import Actor, Hold
from diag.rules import judge, rules
from tests.rules.test_waiting_rules import ONE, actor, resource, seen, snapshot, wait

RULE = next(rule for rule in rules() if rule.code == "T012")
LOCK = resource("thread-lock", "1:a")
LINE = Where(function="get", file="/srv/app.py", line=7)


def hold(*, abandoned: bool, certain: bool = False) -> Hold:
    return Hold(holder=actor(1), resource=LOCK, taken_at=LINE, abandoned=abandoned, certain=certain)


def test_fires_once_for_all_who_wait_and_names_the_line() -> None:
    waits = [
        replace(wait(1, tid, LOCK), stuck=True, holds=(hold(abandoned=True, certain=True),)) for tid in (1, 2)
    ]
    fired = judge(RULE, snapshot(*(seen(ONE, each) for each in waits)))
    assert isinstance(fired, Fired)
    (found,) = fired.findings
    assert found.confidence is Confidence.CERTAIN
    assert isinstance(found.culprit, Actor)
    assert found.culprit.where == LINE
    assert len(found.victims) == 2
    assert found.chain[0].held_by == ()


def test_stays_quiet_where_somebody_has_the_lock_or_the_wait_is_brief() -> None:
    held = replace(wait(1, 1, LOCK), stuck=True, holds=(hold(abandoned=False),))
    brief = replace(wait(1, 2, LOCK), stuck=False, holds=(hold(abandoned=True),))
    assert judge(RULE, snapshot(seen(ONE, held), seen(ONE, brief))) == Clear(code="T012")


def test_admits_blindness() -> None:
    gap = Gap(source="x", hides="y", reason="z", hint="w", blinds=frozenset({"T012"}))
    assert judge(RULE, snapshot(gaps=(gap,))) == Blind(code="T012", gaps=(gap,))
