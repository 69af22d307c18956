"""T009: fires, stays quiet, admits blindness."""

from __future__ import annotations

from msgspec.structs import replace

from diag.model.facts import Gap, Stack
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.graph import Actor, Hold, How
from diag.model.snapshot import SeenTask, Snapshot
from diag.rules import judge, rules
from tests.rules.test_waiting_rules import LINE, ONE, actor, resource, wait

RULE = next(rule for rule in rules() if rule.code == "T009")


def task(number: int, *, of: int = 1) -> Actor:
    return replace(actor(of, of), task=f"Task-{number}", task_id=0x7F0000000000 + number)


def waiting(number: int, holder: Actor, *, how: How = How.BLOCKED, stuck: bool = True) -> SeenTask:
    lock = resource("task-lock", f"of {holder.task}")
    made = wait(1, 1, lock, how=how)
    holds = (Hold(holder=holder, resource=lock, taken_at=LINE),)
    return SeenTask(
        process=ONE,
        actor=task(number),
        kind="task",
        stack=Stack(pid=1, tid=1, thread=None, frames=()),
        wait=replace(made, waiter=task(number), holds=holds, stuck=stuck),
    )


def snapshot(*tasks: SeenTask, gaps: tuple[Gap, ...] = ()) -> Snapshot:
    return Snapshot(processes=(ONE,), tasks=tasks, gaps=gaps)


def test_fires_on_rings_of_any_length() -> None:
    for size in (1, 2, 3):
        ring = [waiting(n, task((n + 1) % size)) for n in range(size)]
        fired = judge(RULE, snapshot(*ring, waiting(9, task(0))))
        assert isinstance(fired, Fired)
        (found,) = fired.findings
        assert found.confidence is Confidence.CERTAIN
        assert len(found.chain) == size
        assert found.victims[-1] == task(9), "who waits behind the ring"
        others = [rule.code for rule in rules() if isinstance(judge(rule, snapshot(*ring)), Fired)]
        assert others == ["T009"]


def test_stays_quiet_where_one_may_go_on() -> None:
    clear = Clear(code="T009")
    assert judge(RULE, snapshot(waiting(1, task(2)), waiting(2, task(3)))) == clear
    assert judge(RULE, snapshot(waiting(1, task(2)), waiting(2, task(1), how=How.TIMED))) == clear
    assert judge(RULE, snapshot(waiting(1, task(2)), waiting(2, task(1), stuck=False))) == clear


def test_admits_blindness() -> None:
    gap = Gap(source="x", hides="y", reason="z", hint="w", blinds=frozenset({"T009"}))
    assert judge(RULE, snapshot(gaps=(gap,))) == Blind(code="T009", gaps=(gap,))
