"""Who looks and who is looked at: programs without Python, other users, no rights."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, assert_quiet, diag_locks, lock_of, pids
from tests.support.cli import NOBODY, diag, diag_as_nobody
from tests.support.locked import CACHE, one_at_a_time
from tests.support.processes import (
    PROGRAMS,
    children,
    lock_lines,
    running,
    started,
    wait_for_call,
    wait_until,
)
from tests.support.require import need_root, need_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture(scope="session")
def native() -> Path:
    """The C program, compiled once."""
    program = CACHE / "native_lock"
    source = PROGRAMS / "native_lock.c"
    with one_at_a_time("compiler"):
        if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
            subprocess.run([need_tool("cc", "gcc"), "-O1", "-o", str(program), str(source)], check=True)
    return program


def test_a_holder_and_a_waiter_without_python(native: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with started([str(native), "hold", str(path)]) as (holder, _):
        wait_for_call(holder.pid, "pause")
        with started([str(native), "wait", str(path)]) as (waiter, _):
            wait_for_call(waiter.pid, "flock")
            answer = diag_locks(path)
            assert answer.codes == ["L006"], answer
            finding = answer.found("L006", holder.pid)
            assert finding["culprit"]["process"] == "native_lock"
            assert pids(finding["victims"]) == {waiter.pid}
            [held] = lock_of(answer, path)["holders"]
            assert held["where"] is None


TRIES = 'exec 9>>"$0"; until flock -n 9; do sleep 0.2; done'
WORKER = """
import fcntl, subprocess, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)  # a POSIX lock: fork gives the descriptor on, but not the lock
subprocess.call(["sh", "-c", "while :; do sleep 0.1; done"], pass_fds=[file.fileno()])
"""


def test_a_shell_that_may_poll_is_hidden_and_a_worker_with_its_master_s_file_is_not(
    python: str, tmp_path: Path
) -> None:
    path, quiet = tmp_path / "app.lock", tmp_path / "app.pid"
    with (
        running(python, LOCKS, "hold", path),
        started(["sh", "-c", TRIES, str(path)]) as (shell, _),
        started([python, "-c", WORKER, str(quiet)]),
    ):
        wait_until(lambda: children(shell.pid), "the shell to sleep")
        wait_until(lambda: quiet.exists() and lock_lines(quiet), "the master to lock")
        for answer in (diag_locks(path), diag("why", shell.pid)):
            assert answer.code == 4, answer
            [gap] = [gap for gap in answer.json["gaps"] if "polls for the lock" in gap["hides"]]
            assert f"pid {shell.pid} (sh)" in gap["hides"], answer
        assert_quiet(diag_locks(quiet))


def as_nobody() -> list[str]:
    """Return the prefix that runs a target as another user, under an interpreter it may run."""
    need_root()
    user = str(NOBODY)
    return [
        need_tool("setpriv", "util-linux"), "--reuid", user, "--regid", user, "--clear-groups",
        "/usr/bin/python3",
    ]  # fmt: skip


def test_root_sees_through_the_processes_of_others(public: Path) -> None:
    path = public / "app.lock"
    with running(as_nobody(), LOCKS, "self-nested", path) as program:
        wait_for_call(program.pid, "flock")
        assert os.stat(f"/proc/{program.pid}").st_uid == NOBODY
        finding = diag_locks(path).found("L001", program.pid)
        assert finding["confidence"] == "certain"


def test_nobody_sees_through_its_own_processes(public: Path) -> None:
    path = public / "app.lock"
    with running(as_nobody(), LOCKS, "self-nested", path) as program:
        wait_for_call(program.pid, "flock")
        answer = diag_as_nobody("locks", path)
        assert answer.found("L001", program.pid), answer


def test_nobody_is_told_what_it_could_not_see(python: str, public: Path) -> None:
    """Root's processes wait for each other: /proc/locks says that much to everybody."""
    path = public / "app.lock"
    path.touch()
    with (
        running(python, LOCKS, "hold", path) as holder,
        running(python, LOCKS, "wait", path) as waiter,
    ):
        wait_for_call(waiter.pid, "flock")
        for asked in (path, public):  # no descriptor tells the path: the directory does
            answer = diag_as_nobody("locks", asked)
            assert answer.code in {3, 4}, answer
            assert answer.json["gaps"], answer
            assert all(gap["hint"] for gap in answer.json["gaps"])
            lock = lock_of(answer, path)
            assert pids(lock["holders"]) == {holder.pid}, answer
            assert pids(lock["waiters"]) == {waiter.pid}, answer


def test_pollers_of_others_are_a_gap_for_nobody(python: str, public: Path) -> None:
    path = public / "app.lock"
    path.touch()
    with (
        running(python, LOCKS, "hold", path),
        running(python, LOCKS, "poll-plain", path) as poller,
    ):
        answer = diag_as_nobody("locks", path)
        assert answer.code == 4, answer
        assert poller.pid not in pids(lock_of(answer, path)["waiters"])


@pytest.mark.parametrize(
    "name",
    ["with space.lock", "new\nline.lock", "\x1b[31mred\x1b[0m.lock", "[bold red]markup.lock"],
    ids=["space", "newline", "escape", "markup"],
)
def test_a_path_with_anything_in_it(name: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with (
        running(python, LOCKS, "hold", path) as holder,
        running(python, LOCKS, "wait", path) as waiter,
    ):
        wait_for_call(waiter.pid, "flock")
        finding = diag_locks(path).found("L006", holder.pid)
        assert pids(finding["victims"]) == {waiter.pid}
        assert finding["resource"]["path"] == str(path)


def test_processes_that_die_while_they_are_looked_at(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    crowd = "while :; do python3 -c pass; done"
    with running(python, LOCKS, "hold", path) as holder, started(["sh", "-c", crowd]):
        for _ in range(5):
            answer = diag_locks(path)
            assert answer.code == 0, answer
            assert pids(lock_of(answer, path)["holders"]) == {holder.pid}
