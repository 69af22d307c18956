"""L004, L005, L006: the holder is alive, and what it does is why nobody else gets the lock."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, line_of, lock_of, pids
from tests.support.cli import diag
from tests.support.processes import running, state, wait_for_call, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cli import Answer
    from tests.support.processes import Program

pytestmark = pytest.mark.live


def look(holder: Program, python: str, path: Path) -> tuple[Answer, int]:
    """Let somebody wait for the holder's lock and ask diag; also returns the waiter's pid."""
    del holder
    with running(python, LOCKS, "wait", path) as waiter:
        wait_for_call(waiter.pid, "flock")
        return diag_locks(path), waiter.pid


def test_stopped_holder(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        wait_until(lambda: state(holder.pid) == "T", "the holder is stopped")
        answer, waiter = look(holder, python, path)
        assert answer.codes == ["L004"], answer
        finding = answer.found("L004", holder.pid)
        assert finding["confidence"] == "certain"
        assert pids(finding["victims"]) == {waiter}
        assert "CONT" in " ".join(finding["remedy"]), answer
        assert state(holder.pid) == "T"  # and it is as it was


def test_holder_that_sleeps(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path) as holder:
        wait_for_call(holder.pid, "sleep")
        answer, waiter = look(holder, python, path)
        assert answer.codes == ["L006"], answer
        finding = answer.found("L006", holder.pid)
        assert pids(finding["victims"]) == {waiter}
        [held] = lock_of(answer, path)["holders"]
        assert held["doing"]["line"] == line_of("time.sleep(1000)"), answer


def test_holder_that_computes(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path, "flock", "work") as holder:
        answer, waiter = look(holder, python, path)
        assert answer.codes == ["L006"], answer
        assert pids(answer.found("L006", holder.pid)["victims"]) == {waiter}


def test_holder_that_waits_for_clients(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path, "flock", "accept") as holder:
        wait_for_call(holder.pid, "accept")
        answer, _ = look(holder, python, path)
        assert set(answer.codes) <= {"L005", "L006"}, answer
        assert answer.json["findings"][0]["culprit"]["pid"] == holder.pid


def test_holder_stuck_in_another_lock_whose_holder_sleeps(python: str, tmp_path: Path) -> None:
    path, other = tmp_path / "app.lock", tmp_path / "other.lock"
    with (
        running(python, LOCKS, "hold", other) as root,
        running(python, LOCKS, "hold", path, "flock", "flock", other) as middle,
        running(python, LOCKS, "wait", path) as waiter,
    ):
        wait_for_call(middle.pid, "flock")
        wait_for_call(waiter.pid, "flock")
        answer = diag_locks(path)
        assert answer.code == 3, answer
        [finding] = answer.json["findings"]
        assert finding["code"] in {"L005", "L006"}, answer
        # The chain's end is the cause, not the middle.
        assert finding["culprit"]["pid"] == root.pid, answer
        assert {waiter.pid, middle.pid} == pids(finding["victims"]), answer


STUCK = {
    # doing: (system call it waits in, what the chain's end must name)
    "read-pipe": ("read", None),
    "wait-child": ("wait4", "child"),
    "recv": ("recv", "server"),
    "write-pipe": ("write", "child"),
    "thread-lock": ("futex", None),
}


@pytest.mark.parametrize("doing", STUCK)
def test_holder_stuck_in_something_else(doing: str, python: str, tmp_path: Path) -> None:
    call, end = STUCK[doing]
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path, "flock", doing) as holder:
        wait_for_call(holder.pid, call)
        answer, waiter = look(holder, python, path)
        # A lock in the process itself has a code of its own.
        assert answer.codes == ["L005"] or (doing, *answer.codes) == ("thread-lock", "T002"), answer
        [finding] = answer.json["findings"]
        assert waiter in pids(finding["victims"]), answer
        told = str(finding)
        assert str(holder.pid) in told
        if end:
            assert str(holder.said[end]) in told, answer


def test_many_waiters_one_holder_one_finding(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        running(python, LOCKS, "wait", path) as one,
        running(python, LOCKS, "wait", path) as two,
        running(python, LOCKS, "wait-in-thread", path) as three,
    ):
        for program in (one, two, three):
            wait_for_call(program.pid, "flock")
        answer = diag("locks", path)
        assert answer.codes == ["L006"], answer
        finding = answer.found("L006", holder.pid)
        assert pids(finding["victims"]) == {one.pid, two.pid, three.pid}
        threads = {waiter["thread"] for waiter in lock_of(answer, path)["waiters"]}
        assert "writer" in threads, answer
