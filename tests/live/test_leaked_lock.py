"""T012: real threads and tasks wait for a lock that was never released."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, running, threads_in, wait_until

PROGRAM = "leaked_cases.py"


def line_of(file: str, text: str, nth: int = 0) -> int:
    lines = (PROGRAMS / file).read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if line.strip() == text][nth]


@on_pythons("2.7", "3.8", "3.13")
@pytest.mark.parametrize(
    ("case", "text", "confidence", "victims"),
    [
        ("exception", "self.mutex.acquire()", "likely", 2),
        ("early_return", "LOCK.acquire()", "likely", 1),
        ("ended_thread", "", "certain", 1),
        ("places", "gate.acquire()", "likely", 2),
    ],
)
def test_a_thread_waits_for_what_was_never_released(
    python: str, case: str, text: str, confidence: str, victims: int
) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(lambda: len(threads_in(program.pid, "futex")) == victims, "all wait")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (3, ["T012"]), answer
        found = answer.found("T012", program.pid)
        assert (found["confidence"], len(found["victims"])) == (confidence, victims), answer
        assert found["chain"][0]["held_by"] == []
        if text:
            assert found["culprit"]["where"]["line"] == line_of(PROGRAM, text)


@on_pythons("3.8", "3.13")
def test_a_task_waits_for_what_was_never_released(python: str) -> None:
    with running(python, PROGRAM, "task") as program:
        wait_until(lambda: threads_in(program.pid, "epoll_wait"), "the loop idles")
        for command in (("why", program.pid), ("scan",)):
            found = diag(*command, timeout=150).found("T012", program.pid)
            assert found["culprit"]["where"]["line"] == line_of(
                "leaked_tasks.py", "await self.lock.acquire()"
            )
            assert found["victims"][0]["task"]


@on_pythons("3.8", "3.13")
def test_a_loop_waits_for_a_lock_that_a_suspended_task_has(python: str) -> None:
    with running(python, PROGRAM, "task_across_await") as program:
        wait_until(lambda: threads_in(program.pid, "futex"), "the loop waits")
        answer = diag("why", program.pid)
        found = answer.found("T006", program.pid)
        assert "which is suspended" in found["summary"], answer
        assert found["chain"][0]["held_by"][0]["task"]
        assert not answer.json["gaps"], answer


@on_pythons("2.7", "3.13")
def test_it_says_so_where_nobody_can_tell_who_has_it(python: str) -> None:
    with running(python, PROGRAM, "suspended") as program:
        wait_until(lambda: threads_in(program.pid, "futex"), "it waits")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (4, []), answer
        assert any("who has the lock GUARD" in gap["hides"] for gap in answer.json["gaps"]), answer


@on_pythons("2.7", "3.13")
@pytest.mark.parametrize("case", ["slow_holder", "in_turn", "handed_over", "busy_places"])
def test_a_holder_that_works_gives_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
