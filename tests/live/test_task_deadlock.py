"""T009, and T005 through a loop: asyncio tasks of real interpreters that wait for each other."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, running, wait_for_call

pytestmark = pytest.mark.live

PROGRAM = "task_cases.py"
LINES = (PROGRAMS / PROGRAM).read_text(encoding="utf-8").splitlines()


def line(text: str) -> int:
    return next(number for number, content in enumerate(LINES, 1) if text in content)


@on_pythons("3.7", "3.9", "3.11", "3.12", "3.13")
def test_two_locks_in_opposite_order(python: str) -> None:
    with running(python, PROGRAM, "abba") as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (3, ["T009"]), answer
        found = answer.found("T009", program.pid)
        assert found["confidence"] == "certain"
        assert found["culprit"]["where"]["line"] == line("async with other.mutex:")
        assert f"taken at {PROGRAM}:{line('async with mine.mutex:')}" in found["summary"]
        assert len(found["chain"]) == 2
        assert len({link["waiter"]["task"] for link in found["chain"]}) == 2
        assert len(found["victims"]) == 2, "the other task, and the one that gathers both"
        assert any(chain["ring"] for chain in answer.json["why"]["chains"])


@on_pythons("3.7", "3.13")
@pytest.mark.parametrize(
    ("case", "hops", "confidence"),
    [
        ("abba_acquire", 2, "likely"),
        ("reentry", 1, "certain"),
        ("await_each_other", 2, "certain"),
        ("awaits_itself", 1, "certain"),
        ("lock_and_join", 2, "certain"),
        ("through_threads", 3, "certain"),
    ],
)
def test_other_rings_of_tasks(python: str, case: str, hops: int, confidence: str) -> None:
    with running(python, PROGRAM, case) as program:
        answer = diag("why", program.pid)
        assert answer.codes == ["T009"], answer
        found = answer.found("T009", program.pid)
        assert (len(found["chain"]), found["confidence"]) == (hops, confidence), answer


@on_pythons("3.7", "3.13")
def test_an_executor_whose_workers_wait_for_the_loop(python: str) -> None:
    with running(python, PROGRAM, "executor_full") as program:
        answer = diag("why", program.pid)
        assert answer.codes == ["T005"], answer


@on_pythons("3.13")
@pytest.mark.parametrize("case", ["serving", "contended", "timed", "slow_holder", "in_threads", "for_ever"])
def test_healthy_tasks_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


def test_a_recording_says_the_same(python: str, tmp_path: object) -> None:
    with running(python, PROGRAM, "abba") as program:
        tape = f"{tmp_path}/tape"
        recorded = diag("record", "-o", tape, "--", "why", program.pid, "--format", "json")
        assert diag("why", program.pid, "--replay", tape).stdout == recorded.stdout


@on_pythons("3.7", "3.13")
def test_stacks_lists_the_tasks_with_what_each_waits_for(python: str) -> None:
    with running(python, PROGRAM, "abba_acquire") as program:
        answer = diag("stacks", program.pid)
        tasks = answer.json["tasks"]
        waits = [task["waits_for"] for task in tasks if task["waits_for"]]
        assert len(waits) == 2, answer
        assert all(wait["where"]["line"] == line("await second.acquire()") for wait in waits)
        assert {task["kind"] for task in tasks} == {"task"}
        assert any(task["waits_for"] is None for task in tasks), "the main task waits for time"
        text = diag("stacks", program.pid, form="terminal").stdout
        assert f"pid {program.pid}: {len(tasks)} tasks wait for their turn" in text
        assert "waits for its loop" in text


@on_pythons("3.13")
def test_scan_looks_into_a_loop_whose_timers_go_on(python: str) -> None:
    with running(python, PROGRAM, "abba_acquire") as stuck, running(python, PROGRAM, "contended") as healthy:
        answer = diag("scan", timeout=120)
        assert answer.found("T009", stuck.pid), answer
        assert not any((each["culprit"] or {}).get("pid") == healthy.pid for each in answer.json["findings"])


@on_pythons("3.7", "3.13")
def test_scan_looks_into_a_loop_that_seems_to_idle(python: str) -> None:
    with running(python, PROGRAM, "abba") as stuck, running(python, PROGRAM, "for_ever") as healthy:
        for program in (stuck, healthy):
            wait_for_call(program.pid, "epoll_wait")
        answer = diag("scan", timeout=120)
        assert answer.found("T009", stuck.pid)["confidence"] == "certain"
        assert not any((each["culprit"] or {}).get("pid") == healthy.pid for each in answer.json["findings"])
