"""L003: the lock lives on in a descriptor that somebody inherited; its taker is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, lock_of, pids
from tests.support.processes import (
    children,
    lock_lines,
    running,
    started,
    wait_for_call,
    wait_until,
    waiters,
)
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.mark.parametrize("role", ["fork-and-leave", "fork-and-leave ofd", "fork-on-stdin", "exec-and-leave"])
def test_the_keeper_is_named_and_not_the_pid_in_proc_locks(role: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    name, *kind = role.split()
    with running(python, LOCKS, name, path, *kind) as gone:
        gone.process.wait(10)
        with running(python, LOCKS, "wait", path, *kind) as waiter:
            wait_for_call(waiter.pid, "fcntl" if kind else "flock")
            answer = diag_locks(path)

            # Nobody knows who took an OFD lock: its keeper may be its taker.
            [finding] = answer.json["findings"]
            assert finding["code"] in ({"L003", "L006"} if kind else {"L003"}), answer
            assert finding["culprit"]["pid"] == gone.said["keeper"]
            assert finding["confidence"] in {"certain", "likely"}, answer
            assert pids(finding["victims"]) == {waiter.pid}
            [holder] = lock_of(answer, path)["holders"]
            assert holder["pid"] == gone.said["keeper"]
            if name == "fork-on-stdin":
                assert holder["fd"] == 0
            if not kind:
                assert holder["taker"] == gone.said["taker"], answer


def test_a_shell_that_locked_its_own_descriptor(python: str, tmp_path: Path) -> None:
    """``exec 9>FILE; flock 9``: /proc/locks has the pid of a flock command that has ended."""
    need_tool("flock", "util-linux")
    path = tmp_path / "app.lock"
    script = f"exec 9>{path}; flock 9; sleep 1000; true"
    with started(["bash", "-c", script]) as (shell, _):
        wait_until(lambda: path.exists() and lock_lines(path) and children(shell.pid), "the lock")
        with running(python, LOCKS, "wait", path) as waiter:
            wait_for_call(waiter.pid, "flock")
            answer = diag_locks(path)
            assert answer.code == 3, answer
            lock = lock_of(answer, path)
            # bash and the sleep that it waits for both have the descriptor.
            assert pids(lock["holders"]) == {shell.pid, *children(shell.pid)}, answer
            assert pids(lock["waiters"]) == {waiter.pid}
            [finding] = answer.json["findings"]
            assert finding["code"] in {"L003", "L005", "L006"}, answer
            assert waiter.pid in pids(finding["victims"])


def test_flock_command_with_a_program_inside(tmp_path: Path) -> None:
    """``flock FILE sleep 1000``: flock holds the lock and waits for the program."""
    flock = need_tool("flock", "util-linux")
    path = tmp_path / "app.lock"
    with started([flock, str(path), "sleep", "1000"]) as (wrapper, _):
        wait_until(lambda: path.exists() and lock_lines(path) and children(wrapper.pid), "the lock")
        with started([flock, str(path), "true"]) as (second, _):
            wait_until(lambda: waiters(path) == 1, "the second flock waits")
            answer = diag_locks(path)
            assert answer.code == 3, answer
            [finding] = answer.json["findings"]
            family = {wrapper.pid, *children(wrapper.pid)}
            assert finding["culprit"]["pid"] in family, answer
            assert second.pid in pids(finding["victims"]), answer
            assert pids(lock_of(answer, path)["holders"]) <= family


@pytest.mark.parametrize("then", ["ends", "closes"])
def test_a_lock_that_came_in_a_message(then: str, python: str, tmp_path: Path) -> None:
    """The keeper is older than the taker, and no line of its own took the lock."""
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hand-over", path, then) as keeper,
        running(python, LOCKS, "wait", path) as waiter,
    ):
        wait_for_call(waiter.pid, "flock")
        answer = diag_locks(path)
        finding = answer.found("L003", keeper.pid)
        assert finding["confidence"] == "likely", answer
        assert pids(finding["victims"]) == {waiter.pid}, answer
        fate = "is gone" if then == "ends" else "no longer has it open"
        assert f"pid {keeper.said['taker']}, which took it, {fate}" in finding["summary"], answer
        [holder] = lock_of(answer, path)["holders"]
        assert holder["where"] is None, answer
