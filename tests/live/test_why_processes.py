"""P001 to P003 and what looks like them: real processes, pipes and sockets, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import children, running, threads_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = "process_cases.py"
PIPE_CASES = {  # what parent and child sleep in
    "popen_wait": (("wait4", "waitid"), "write"),
    "popen_stderr": (("read",), "write"),
    "terminal_wait": (("wait4", "waitid"), "write"),
    "popen_with_heartbeat": (("wait4", "waitid"), "write"),
    "two_way": (("write",), "write"),
}


def asleep(pid: int, *calls: str) -> Callable[[], bool]:
    return lambda: any(threads_in(pid, call) for call in calls)


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize("case", PIPE_CASES)
def test_a_full_pipe_between_parent_and_child(python: str, case: str, tmp_path: Path) -> None:
    in_parent, in_child = PIPE_CASES[case]
    with running(python, PROGRAM, case, tmp_path) as program:
        child = wait_until(lambda: children(program.pid), "a child")[0]
        wait_until(asleep(program.pid, *in_parent), "the parent waits")
        wait_until(asleep(child, in_child), "the child writes")
        answer = diag("why", program.pid)
        assert answer.codes == ["P001"], answer
        found = answer.found("P001", program.pid)
        assert found["confidence"] == ("likely" if case == "popen_with_heartbeat" else "certain")
        assert [victim["pid"] for victim in found["victims"]] == [child]
        assert found["resource"]["kind"] == ("pty" if case == "terminal_wait" else "pipe")
        assert found["culprit"]["where"]["file"].endswith(PROGRAM)
        assert alive(program.pid, child, in_child), "diag must not disturb the writer"
        # The same from the other side.
        assert diag("why", child).codes == ["P001"]


def test_a_program_that_waits_for_somebody_to_type_is_idle(python: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, "terminal_input", tmp_path) as program:
        child = wait_until(lambda: children(program.pid), "a child")[0]
        wait_until(asleep(child, "read"), "the child reads")
        answer = diag("why", child, program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
        words = {thread["pid"]: thread["waits_for"]["words"] for thread in answer.json["why"]["threads"]}
        assert words[child].startswith("idle: waits for input at terminal /dev/pts/")
        assert f"other end: pid {program.pid}" in words[child]


def alive(pid: int, child: int, call: str) -> bool:
    return children(pid) == [child] and bool(threads_in(child, call))


def test_three_processes_in_calls_to_each_other(python: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, "rpc_ring", tmp_path) as program:
        ring = [program.pid, *wait_until(lambda: two(children(program.pid)), "two children")]
        for pid in ring:
            wait_until(asleep(pid, "recv"), f"{pid} in recv")
        answer = diag("why", ring[2])
        assert answer.codes == ["P002"], answer
        found = answer.found("P002")
        assert {link["waiter"]["pid"] for link in found["chain"]} == set(ring)


def test_a_server_that_calls_itself(python: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, "calls_itself", tmp_path) as program:
        wait_until(asleep(program.pid, "recv"), "it waits for its own answer")
        answer = diag("why", program.pid)
        assert answer.codes == ["P002"], answer
        found = answer.found("P002", program.pid)
        assert "has not accepted the connection yet" in found["summary"]
        assert found["culprit"]["where"]["function"] == "calls_itself"


def test_a_server_whose_other_thread_may_still_accept(python: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, "served_by_thread", tmp_path) as program:
        wait_until(asleep(program.pid, "recv"), "it waits for an answer")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer


def two(found: list[int]) -> list[int]:
    return found if len(found) == 2 else []


@pytest.mark.parametrize(
    ("case", "call", "severity"),
    [
        ("fifo_read", "openat", "info"),
        ("fifo_server", "read", "info"),
        ("own_write_end", "read", "critical"),
    ],
)
def test_nobody_at_the_other_end(python: str, case: str, call: str, severity: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, case, tmp_path) as program:
        wait_until(asleep(program.pid, call), call)
        answer = diag("why", program.pid)
        assert answer.codes == ["P003"], answer
        assert answer.found("P003", program.pid)["severity"] == severity


@on_pythons("2.7", "3.13")
@pytest.mark.parametrize("case", ["communicate", "wait_for_worker", "master", "slow_reader", "client"])
def test_healthy_processes_give_nothing(python: str, case: str, tmp_path: Path) -> None:
    with running(python, PROGRAM, case, tmp_path) as program:
        wait_until(lambda: children(program.pid), "a child")
        wait_until(
            asleep(program.pid, "read", "poll", "wait4", "waitid", "sleep", "recv", "select"), "asleep"
        )
        answer: Any = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
