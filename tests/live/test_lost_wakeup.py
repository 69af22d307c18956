"""T010: what real threads and tasks wait for, and nobody will ever send."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, Program, running, threads_in, wait_until

pytestmark = pytest.mark.live

PROGRAM = "lost_cases.py"
LINES = (PROGRAMS / PROGRAM).read_text(encoding="utf-8").splitlines()
CASES = [
    ("result_lost", "    results.get()", "certain"),
    ("unfinished", "    jobs.join()", "certain"),
    ("missed_notify", "        condition.wait()", "certain"),
    ("events", "    two.wait()", "likely"),
    ("nested_monitor", "            condition.wait()", "certain"),
]


def asleep(program: Program, count: int) -> None:
    wait_until(lambda: len(threads_in(program.pid, "futex")) == count, f"{count} threads sleep")


@on_pythons("2.7", "3.7", "3.12", "3.13")
@pytest.mark.parametrize(("case", "line", "confidence"), CASES)
def test_nobody_is_left_to_wake_it(python: str, case: str, line: str, confidence: str) -> None:
    with running(python, PROGRAM, case) as program:
        asleep(program, 2 if case in ("events", "nested_monitor") else 1)
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (3, ["T010"]), answer
        found = answer.found("T010", program.pid)
        assert found["confidence"] == confidence
        assert found["culprit"]["where"]["line"] == LINES.index(line) + 1
        assert any(evidence["text"].startswith("SigCgt") for evidence in found["evidence"])


@on_pythons("3.12")
def test_a_worker_that_is_joined_waits_for_its_next_job(python: str) -> None:
    with running(python, PROGRAM, "joined_worker") as program:
        asleep(program, 2)
        answer = diag("why", program.pid)
        assert answer.codes == ["T010"], answer
        assert len(answer.found("T010", program.pid)["victims"]) == 1


@on_pythons("3.9", "3.13")
@pytest.mark.parametrize("case", ["executor_at_exit", "joined_at_exit"])
def test_a_program_that_wants_to_end_waits_for_a_thread(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(lambda: threads_in(program.pid, "futex"), "it waits for its threads")
        answer = diag("why", program.pid)
        assert answer.codes == ["T010"], answer
        assert answer.found("T010", program.pid)["confidence"] == "likely"


@on_pythons("2.7", "3.12")
@pytest.mark.parametrize(
    "case",
    [
        "keeps_alive", "pauses", "epoll_worker", "accept_worker", "recv_worker", "sleeping_worker", "timer",
        "timed", "sigterm", "alarm", "multiprocessing_writer", "shared_semaphore", "busy", "event_and_queue",
    ],
)  # fmt: skip
def test_healthy_waiters_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer


@on_pythons("3.7", "3.13")
def test_tasks_of_a_loop_that_nothing_can_wake(python: str) -> None:
    lost = dict.fromkeys(("lost_item", "places_lost", "unfinished"), "certain")
    for case, confidence in {**lost, "events": "likely"}.items():
        with running(python, "task_cases.py", case) as program:
            wait_until(lambda pid=program.pid: threads_in(pid, "epoll_wait"), "the loop idles")  # type: ignore[misc]
            answer = diag("why", program.pid)
            assert answer.codes == ["T010"], answer
            assert answer.found("T010", program.pid)["confidence"] == confidence
            assert answer.found("T010", program.pid)["chain"][0]["waiter"]["task"]


@on_pythons("3.13")
@pytest.mark.parametrize("case", ["only_event", "fed_by_thread", "on_signal", "serving", "for_ever"])
def test_healthy_loops_give_nothing(python: str, case: str) -> None:
    with running(python, "task_cases.py", case) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
