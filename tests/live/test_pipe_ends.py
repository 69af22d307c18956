"""P006, P003 and what looks like them: real pipes that are read to an end which does not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import children, pids, read, running, threads_in, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "end_cases.py"
WAITS = ("read", "poll", "write", "recv", "wait4", "futex")


def asleep(pid: int, *calls: str) -> Callable[[], bool]:
    return lambda: any(threads_in(pid, call) for call in calls)


def daemon_of(pid: int) -> int:
    """The orphan that a child has left behind: it is in the process group of its reader."""
    group = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[2]

    def look() -> int:
        for one in pids():
            words = read(f"/proc/{one}/stat").rpartition(")")[2].split()
            if (
                words
                and words[2] == group
                and words[1] != str(pid)
                and read(f"/proc/{one}/comm") == "sleep\n"
            ):
                return one
        return 0

    return wait_until(look, "a daemon")


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize("case", ["communicate", "both_pipes", "reads_all", "shell"])
def test_a_daemon_keeps_the_pipe_of_its_dead_parent_open(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        daemon = daemon_of(program.pid)
        wait_until(asleep(program.pid, "read", "poll"), "it waits for the end of the pipe")
        answer = diag("why", program.pid)
        assert answer.codes == ["P006"], answer
        found = answer.found("P006", daemon)
        assert found["confidence"] == ("likely" if case == "shell" else "certain")
        assert found["severity"] == "critical"
        assert [victim["pid"] for victim in found["victims"]] == [program.pid]
        if case != "shell":
            assert found["victims"][0]["where"]["file"].endswith(PROGRAM)


@on_pythons("2.7", "3.12")
def test_a_sibling_keeps_the_standard_input_of_a_child_open(python: str) -> None:
    with running(python, PROGRAM, "sibling") as program:
        keeper = program.said["keeper"]
        [reader] = [pid for pid in children(program.pid) if pid != keeper]
        wait_until(asleep(reader, "read"), "the first child reads")
        wait_until(asleep(program.pid, "wait4", "waitid"), "its parent waits for it")
        answer = diag("why", program.pid)
        assert answer.codes == ["P006"], answer
        found = answer.found("P006", keeper)
        assert {victim["pid"] for victim in found["victims"]} == {program.pid, reader}


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize(("case", "call"), [("own_pipe", "write"), ("own_sockets", "recv")])
def test_both_ends_in_one_process_none_of_whose_threads_can_act(python: str, case: str, call: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(lambda: threads_in(program.pid, call), call)
        wait_until(lambda: len(threads_in(program.pid, call) + threads_in(program.pid, "futex")) == 2, "both")
        answer = diag("why", program.pid)
        assert answer.codes == ["P003"], answer
        found = answer.found("P003", program.pid)
        assert (found["severity"], len(found["victims"])) == ("critical", 1)


@on_pythons("2.7", "3.13")
@pytest.mark.parametrize(
    "case", ["child_works", "forwards", "log_process", "woken_by_signal", "woken_by_thread"]
)
def test_ends_that_may_still_come_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(asleep(program.pid, *WAITS), "it waits")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
