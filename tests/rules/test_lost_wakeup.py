"""T010: fires, stays quiet, admits blindness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from diag.model.facts import Evidence, Gap, Syscall
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.graph import How
from diag.rules import judge, rules
from tests.rules.test_waiting_rules import ONE, actor, resource, seen, snapshot, wait

if TYPE_CHECKING:
    from diag.model.snapshot import SeenThread

RULE = next(rule for rule in rules() if rule.code == "T010")
SLEEP = (0x7F0000001000, 0x189, 0, 0, 0, 0xFFFFFFFF)


def asleep(
    tid: int, kind: str, *, how: How = How.BLOCKED, caught: int | None = 2, arguments: tuple[int, ...] = SLEEP
) -> SeenThread:
    asked = replace(wait(1, tid, resource(kind, str(tid)), how=how), stuck=True)
    made = seen(replace(ONE, caught=caught), asked)
    call = Syscall(number=202, name="futex", arguments=arguments)
    return replace(made, thread=replace(made.thread, syscall=call), moved=False)


def test_fires_where_nobody_is_left() -> None:
    fired = judge(RULE, snapshot(asleep(1, "queue", how=How.IDLE), asleep(2, "queue", how=How.IDLE)))
    assert isinstance(fired, Fired)
    (found,) = fired.findings
    assert (found.culprit, found.confidence) == (actor(1, 1), Confidence.CERTAIN)
    both = snapshot(asleep(1, "event"), asleep(2, "event"))
    fired = judge(RULE, both)
    assert isinstance(fired, Fired)
    assert fired.findings[0].confidence is Confidence.LIKELY
    assert [rule.code for rule in rules() if isinstance(judge(rule, both), Fired)] == ["T010"]


@pytest.mark.parametrize(
    "other",
    [
        asleep(2, "queue", arguments=(SLEEP[0], 0x109, 0, 0)),  # a word that processes share
        asleep(2, "queue", arguments=(SLEEP[0], 0x189, 0, 0x7F0000002000)),  # a time limit
        asleep(2, "queue", caught=1 << 14),  # SIGTERM
        asleep(2, "queue", caught=None),
        replace(asleep(2, "queue"), moved=True),
        replace(asleep(2, "socket"), thread=replace(asleep(2, "x").thread, syscall=None)),
    ],
)
def test_stays_quiet_where_somebody_may_go_on(other: SeenThread) -> None:
    assert judge(RULE, snapshot(asleep(1, "condition"), other)) == Clear(code="T010")


def test_stays_quiet_where_a_main_program_sleeps_until_it_is_killed() -> None:
    idle = asleep(2, "queue", how=How.IDLE)
    assert judge(RULE, snapshot(asleep(1, "event"), idle)) == Clear(code="T010")


def test_stays_quiet_where_not_all_threads_were_seen() -> None:
    assert judge(RULE, snapshot(asleep(1, "condition"))) == Clear(code="T010")


def test_a_loop_counts_only_when_nothing_but_its_threads_can_wake_it() -> None:
    call = Syscall(number=232, name="epoll_wait", arguments=(3, 0x7F0000001000, 1, 0xFFFFFFFF))
    loop = asleep(2, "epoll", how=How.IDLE)
    loop = replace(loop, thread=replace(loop.thread, syscall=call))
    assert judge(RULE, snapshot(asleep(1, "condition"), loop)) == Clear(code="T010")
    lonely = replace(loop, lonely_loop=Evidence(source="/proc/1/mem", text="no timer"))
    assert isinstance(judge(RULE, snapshot(asleep(1, "condition"), lonely)), Fired)
    limited = replace(lonely, thread=replace(loop.thread, syscall=replace(call, arguments=(3, 0, 1, 500))))
    assert judge(RULE, snapshot(asleep(1, "condition"), limited)) == Clear(code="T010")


def test_admits_blindness() -> None:
    gap = Gap(source="x", hides="y", reason="z", hint="w", blinds=frozenset({"T010"}))
    assert judge(RULE, snapshot(gaps=(gap,))) == Blind(code="T010", gaps=(gap,))
