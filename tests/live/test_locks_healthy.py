"""Look-alikes: nothing is wrong, and nothing is said."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, assert_quiet, diag_locks, lock_of, pids
from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import lock_lines, running, started, wait_for_poller, wait_until, waiters
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@on_pythons("2.7", "3.13")
def test_a_daemon_that_holds_its_pid_file_for_life(python: str, tmp_path: Path) -> None:
    path = tmp_path / "daemon.pid"
    with running(python, LOCKS, "daemon", path) as holder:
        answer = diag_locks(path)
        assert_quiet(answer)
        assert pids(lock_of(answer, path)["holders"]) == {holder.pid}


@pytest.mark.parametrize("seconds", ["0.005", "0.02"])
def test_a_lock_that_many_take_for_a_moment(seconds: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(running(python, LOCKS, "busy-lock", path, seconds))
        wait_until(lambda: len(lock_lines(path)) > 3, "contention")
        assert_quiet(diag_locks(path))


@on_pythons("2.7", "3.13")
def test_workers_that_take_turns_to_accept_clients(python: str, tmp_path: Path) -> None:
    path = tmp_path / "accept.lock"
    with running(python, LOCKS, "take-turns", path) as worker:
        wait_until(lambda: waiters(path) > 1, "all but one wait for their turn")
        assert_quiet(diag_locks(path))
        assert_quiet(diag("why", worker.pid))


@on_pythons("2.7", "3.13")
def test_a_periodic_job_that_gives_up_while_a_daemon_holds(python: str, tmp_path: Path) -> None:
    path = tmp_path / "job.lock"
    with (
        running(python, LOCKS, "daemon", path),
        running(python, LOCKS, "try-now-and-then", path),
    ):
        assert_quiet(diag_locks(path))


@on_pythons("2.7", "3.13")
def test_a_process_that_only_has_the_file_open_and_paces_itself(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "daemon", path),
        running(python, LOCKS, "only-open", path) as reader,
    ):
        answer = diag_locks(path)
        assert_quiet(answer)
        assert reader.pid in pids(lock_of(answer, path)["open_by"]), answer


def test_a_flock_command_that_runs_its_program(tmp_path: Path) -> None:
    flock = need_tool("flock", "util-linux")
    path = tmp_path / "app.lock"
    with started([flock, str(path), "sleep", "1000"]):
        wait_until(lambda: path.exists() and lock_lines(path), "the lock")
        assert_quiet(diag_locks(path))


def test_readers_of_one_database(python: str, tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.close()
    with (
        running(python, LOCKS, "read-sqlite", path),
        running(python, LOCKS, "read-sqlite", path),
    ):
        assert lock_lines(path)
        assert_quiet(diag_locks(path))


def test_ranges_that_do_not_meet(python: str, tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with (
        running(python, LOCKS, "hold-ranges", path, "posix", "0-10"),
        running(python, LOCKS, "hold-ranges", path, "ofd", "10-10"),
    ):
        assert_quiet(diag_locks(path))


def test_a_file_without_any_lock(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.touch()
    answer = diag_locks(path)
    assert_quiet(answer)


@pytest.mark.parametrize("way", ["sleep", "busy", "serve", "epoll", "workers", "parent"])
def test_stacks_of_healthy_processes(way: str, python: str) -> None:
    with running(python, "idle.py", way) as program:
        assert_quiet(diag("stacks", program.pid))


@pytest.mark.parametrize(
    "script",
    ["watch -n 0.3 cat {}", "tail -f ---disable-inotify -s 0.3 {}", "while true; do cat {}; sleep 0.2; done"],
)
def test_who_reads_a_lock_file_again_and_again(script: str, python: str, tmp_path: Path) -> None:
    """No program that runs there can ask for a flock: none of them calls it."""
    path = tmp_path / "app.lock"
    words = script.format(path).split()
    argv = words if words[0] != "while" else ["sh", "-c", script.format(path)]
    need_tool(argv[0], "procps")
    with (
        running(python, LOCKS, "daemon", path),
        started(argv, env={"TERM": "xterm"}) as (reader, _),
    ):
        wait_for_poller(reader.pid, path)
        assert_quiet(diag_locks(path))
        assert_quiet(diag("why", reader.pid))


def test_a_log_that_somebody_follows(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("a line\n", encoding="ascii")
    with started(["tail", "-f", "---disable-inotify", "-s", "0.3", str(path)]) as (reader, _):
        wait_for_poller(reader.pid, path)
        assert_quiet(diag_locks(path))


def test_shells_that_take_turns(tmp_path: Path) -> None:
    """Each names the lock and wakes up again and again; but it goes from one to the other."""
    flock = need_tool("flock", "util-linux")
    path = tmp_path / "app.lock"
    loop = f"while true; do {flock} {path} sleep 0.2; sleep 0.2; done"
    with started(["sh", "-c", loop]) as (one, _), started(["sh", "-c", loop]):
        wait_until(lambda: path.exists() and lock_lines(path), "one of them has it")
        assert_quiet(diag_locks(path))
        assert_quiet(diag("why", one.pid))
