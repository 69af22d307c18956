"""T005 for pools of multiprocessing and of processes, and what looks like it: seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import Answer, diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, children, running, threads_in, wait_until

if TYPE_CHECKING:
    from tests.support.processes import Program

PROGRAM = "pool_cases.py"


def line(text: str, after: str = "") -> int:
    lines = (PROGRAMS / PROGRAM).read_text(encoding="utf-8").splitlines()
    first = next(number for number, content in enumerate(lines) if after in content)
    return next(number for number, content in enumerate(lines[first:], first + 1) if text in content)


def until_found(code: str, pid: int) -> Answer:
    """Look until the finding shows: one look at a process of a loaded machine may be torn."""
    answers: list[Answer] = []

    def look() -> bool:
        answers.append(diag("why", pid))
        return code in answers[-1].codes

    wait_until(look, f"{code} of pid {pid}", timeout=30)
    return answers[-1]


@on_pythons()
@pytest.mark.parametrize(("case", "asks"), [("threads_apply", "POOL.apply(i"), ("threads_map", "POOL.map(i")])
def test_threads_of_a_multiprocessing_pool_that_wait_for_their_own_pool(
    python: str, case: str, asks: str
) -> None:
    with running(python, PROGRAM, case) as program:
        answer = until_found("T005", program.pid)
        assert answer.codes == ["T005"], answer
        finding = answer.found("T005", program.pid)
        assert (finding["severity"], finding["confidence"]) == ("critical", "certain")
        assert finding["culprit"]["tid"] != program.pid
        assert finding["culprit"]["where"]["line"] == line(asks)
        others = {victim["tid"] for victim in finding["victims"]}
        assert len(others) == 2, "the other worker, and the main thread"
        assert program.pid in others


@on_pythons("2.7", "3.6", "3.9", "3.13")
def test_a_worker_that_gives_work_to_its_copy_of_the_pool(python: str) -> None:
    with running(python, PROGRAM, "process_pool") as program:
        worker = program.said["worker"]
        answer = until_found("T005", program.pid)
        assert answer.codes == ["T005"], answer
        finding = answer.found("T005", worker)
        assert finding["culprit"]["where"]["function"] == "outer_alone"
        assert [victim["pid"] for victim in finding["victims"]] == [program.pid]
        assert f"copy of a Pool of pid {program.pid}" in finding["summary"]


@on_pythons("3.6", "3.9", "3.12", "3.13")
def test_a_worker_that_gives_work_to_its_own_executor(python: str) -> None:
    """The copy of the executor was forked in the middle of submit(), whose lock the worker waits for."""
    with running(python, PROGRAM, "executor") as program:
        answer = until_found("T002", program.pid)
        workers = children(program.pid)
        for finding in answer.json["findings"]:
            assert finding["code"] == "T002", answer
            assert finding["culprit"]["pid"] in workers
            assert "submit" in finding["summary"]


@on_pythons("3.6", "3.10", "3.13")
def test_a_worker_process_that_asks_its_parent_who_asks_the_pool(python: str) -> None:
    with running(python, PROGRAM, "asks_parent") as program:
        worker = wait_until(lambda: children(program.pid), "a worker")[0]
        answer = until_found("T005", program.pid)
        assert answer.codes == ["T005"], answer
        finding = answer.found("T005", worker)
        assert finding["confidence"] == "likely"
        assert finding["culprit"]["where"]["line"] == line("return connection.recv()")
        assert [victim["pid"] for victim in finding["victims"]] == [program.pid]
        assert diag("why", worker).codes == ["T005"]


@on_pythons("2.7", "3.13")
def test_work_that_a_pool_has_lost_with_its_worker(python: str) -> None:
    with running(python, PROGRAM, "worker_dies") as program:
        answer = until_found("T010", program.pid)
        assert answer.codes == ["T010"], answer
        finding = answer.found("T010", program.pid)
        assert finding["culprit"]["where"]["line"] == line("    result.get()", "def worker_dies")
        assert "lost" in finding["summary"]


def asleep(program: Program) -> bool:
    """Whether the main thread sleeps for what the case is about."""
    return program.pid in (*threads_in(program.pid, "futex"), *threads_in(program.pid, "sleep"))


def assert_healthy(answer: Answer) -> None:
    """Nothing found, and everything seen; OFD locks of strangers on this host are no business of ours."""
    gaps = [gap for gap in answer.json["gaps"] if "OFD" not in gap["hides"]]
    assert (answer.codes, gaps) == ([], []), answer


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize(
    "case", ["busy_threads", "busy_imap", "slow_input", "waits_outside", "other_pool", "idle"]
)
def test_healthy_pools_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(lambda: asleep(program), "the main thread waits")
        answer = diag("why", program.pid, *children(program.pid))
        assert_healthy(answer)


@on_pythons("3.6", "3.13")
@pytest.mark.parametrize("case", ["busy_processes", "busy_executor", "idle_executor"])
def test_healthy_process_pools_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(lambda: asleep(program), "the main thread waits")
        answer = diag("why", program.pid, *children(program.pid))
        assert_healthy(answer)


def test_who_waits_for_a_result_is_led_to_the_worker_that_makes_it(python: str) -> None:
    with running(python, PROGRAM, "busy_processes") as program:
        wait_until(lambda: asleep(program), "the main thread waits")
        answer = diag("why", program.pid)
        links = answer.json["why"]["chains"][0]["links"]
        assert {holder["pid"] for holder in links[0]["held_by"]} == set(children(program.pid))
