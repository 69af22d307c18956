"""Loops that sleep between two looks at whether children or threads have ended: they wait for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import children, running, wait_for_call, wait_until

pytestmark = pytest.mark.live

PROGRAM = "watching_cases.py"


def pids(actors: list[dict[str, Any]]) -> set[int]:
    return {actor["pid"] for actor in actors}


@on_pythons("2.7", "3.8", "3.13")
@pytest.mark.parametrize("case", ["service", "waitpid", "joined"])
def test_a_parent_that_polls_is_a_victim_of_its_stuck_child(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        stuck = program.said["stuck"]
        wait_for_call(stuck, "futex")
        answer = diag("why", program.pid)
        assert answer.codes == ["T002"], answer
        assert pids(answer.found("T002", stuck)["victims"]) == {program.pid}
        links = answer.json["why"]["chains"][0]["links"]
        assert links[0]["waiter"]["pid"] == program.pid
        assert links[0]["waits_for"]["kind"] == "child"


def test_a_scan_names_the_parent_that_polls_among_the_victims(python: str) -> None:
    with running(python, PROGRAM, "service") as program:
        stuck = program.said["stuck"]
        wait_for_call(stuck, "futex")
        found = diag("scan", timeout=150).found("T002", stuck)
        assert program.pid in pids(found["victims"])


@on_pythons("3.6", "3.12")
def test_signals_that_come_again_do_not_hide_a_deadlock(python: str) -> None:
    with running(python, PROGRAM, "terminated") as program:
        stuck = wait_until(lambda: children(program.pid), "a worker")[0]
        wait_for_call(stuck, "futex")
        answer = diag("why", program.pid)
        assert answer.codes == ["T002"], answer
        found = answer.found("T002", stuck)
        assert "SIGTERM handler" in found["summary"]
        assert pids(found["victims"]) == {program.pid}


@on_pythons("3.6", "3.12")
def test_a_wait_with_a_time_limit_that_is_repeated_for_ever(python: str) -> None:
    with running(python, PROGRAM, "waits_again") as program:
        wait_for_call(program.said["stuck"], "futex")
        answer = diag("why", program.pid)
        assert answer.codes == ["T002"], answer
        assert pids(answer.found("T002", program.said["stuck"])["victims"]) == {program.pid}


@on_pythons("2.7", "3.13")
def test_a_full_pipe_behind_a_poll(python: str) -> None:
    with running(python, PROGRAM, "full_pipe") as program:
        wait_for_call(program.said["stuck"], "write")
        answer = diag("why", program.pid)
        assert answer.codes == ["P001"], answer
        assert pids(answer.found("P001", program.pid)["victims"]) == {program.said["stuck"]}


@on_pythons("2.7", "3.13")
def test_a_thread_that_is_polled_for(python: str) -> None:
    with running(python, PROGRAM, "thread") as program:
        wait_for_call(program.pid, "futex")
        answer = diag("why", program.pid)
        assert answer.codes == ["T002"], answer
        assert [victim["tid"] for victim in answer.json["findings"][0]["victims"]] == [program.pid]


@on_pythons("2.7", "3.13")
@pytest.mark.parametrize("case", ["patient", "supervisor", "waits_for_server", "looks_after"])
def test_healthy_parents_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_for_call(program.pid, "sleep")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
        if case in ("supervisor", "waits_for_server"):
            assert answer.json["why"]["chains"] == [], answer
