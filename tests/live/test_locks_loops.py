"""Waiters inside an event loop: a task polls, and the loop sleeps for it and for all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, assert_quiet, diag_locks, line_of, lock_of, pids
from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages
from tests.support.processes import lock_lines, running, started, wait_for_call, wait_for_poller, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

LOOPS = "lock_loops.py"


@on_pythons("3.8", "3.13")
def test_a_task_that_polls(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path) as holder, running(python, LOOPS, "poll", path) as poller:
        wait_for_poller(poller.pid, path)
        for answer in (diag_locks(path), diag_locks(tmp_path), diag("why", poller.pid)):
            finding = answer.found("L006", holder.pid)
            assert pids(finding["victims"]) == {poller.pid}, answer
            assert "save" in finding["victims"][0]["task"], answer
            assert finding["chain"][0]["where"]["line"] == line_of("async with TaskLock(path):", LOOPS, 1)
        [waiter] = lock_of(diag_locks(path), path)["waiters"]
        assert waiter["how"] == "polling"


CASES = [
    ("poll-filelock", "3.12", "filelock==3.16.1"),
    ("poll-filelock", "3.13", "filelock==4.2.11"),
    ("poll-trio", "3.12", "trio==0.31.0"),
    ("poll-gevent", "3.12", "gevent==24.11.1"),
]


@pytest.mark.parametrize(("role", "python", "pin"), CASES, indirect=["python"], ids=[c[2] for c in CASES])
def test_a_library_that_polls_in_its_loop(role: str, python: str, pin: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        running(python, LOOPS, role, path, path=packages(python, pin)) as poller,
    ):
        wait_for_poller(poller.pid, path)
        for answer in (diag_locks(path), diag("why", poller.pid)):
            finding = answer.found("L006", holder.pid)
            assert pids(finding["victims"]) == {poller.pid}, answer
            assert finding["chain"][0]["where"]["function"] == "store", answer


ASYNCIO = """
import asyncio, fcntl, sys
async def acquire(path):
    file = open(path, "a")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            await asyncio.sleep(0.3)
asyncio.run(acquire(sys.argv[1]))
"""


def test_a_task_of_a_program_on_the_command_line(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        started([python, "-c", ASYNCIO, str(path)]) as (
            poller,
            _,
        ),
    ):
        wait_for_call(poller.pid, "epoll_wait")
        for answer in (diag_locks(path), diag("why", poller.pid)):
            assert pids(answer.found("L006", holder.pid)["victims"]) == {poller.pid}, answer


def test_a_task_that_has_the_lock_and_one_that_polls(python: str, tmp_path: Path) -> None:
    """They are one process: no self-deadlock, for the task that has the lock may give it back."""
    path = tmp_path / "app.lock"
    with running(python, LOOPS, "hold-and-poll", path) as both:
        wait_for_poller(both.pid, path)
        answer = diag_locks(path)
        finding = answer.found("L006", both.pid)
        assert finding["culprit"]["task"] != finding["victims"][0]["task"], answer
        assert finding["culprit"]["where"]["line"] == line_of("await asyncio.sleep(1000)", LOOPS, 1), answer


def test_a_task_that_asks_for_what_it_has(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOOPS, "nested", path) as task:
        wait_for_poller(task.pid, path)
        for answer in (diag_locks(path), diag("why", task.pid)):
            finding = answer.found("L001", task.pid)
            assert f"{LOOPS}:{line_of('async with TaskLock(path):', LOOPS, 2)}" in finding["summary"], answer


def test_a_ring_of_tasks(python: str, tmp_path: Path) -> None:
    first, second = tmp_path / "a.lock", tmp_path / "b.lock"
    with (
        running(python, LOOPS, "ring", first, second) as one,
        running(python, LOOPS, "ring", second, first) as other,
    ):
        wait_until(
            lambda: all(path.exists() and lock_lines(path) for path in (first, second)), "both have one"
        )
        wait_for_poller(one.pid, second)
        wait_for_poller(other.pid, first)
        for answer in (diag_locks(first), diag("why", other.pid)):
            finding = answer.found("L002")
            assert {link["waiter"]["pid"] for link in finding["chain"]} == {one.pid, other.pid}, answer


def test_a_function_that_has_itself_called_again(python: str, tmp_path: Path) -> None:
    """No stack shows it: that is said, and not that nothing is wrong."""
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "hold", path), running(python, LOOPS, "callback", path) as poller:
        wait_for_poller(poller.pid, path)
        answer = diag_locks(path)
        assert answer.code == 4, answer
        assert any("attempt" in gap["reason"] for gap in answer.json["gaps"]), answer


def test_an_idle_loop_that_knows_the_path(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "daemon", path), running(python, LOOPS, "idle", path) as server:
        assert_quiet(diag_locks(path))
        assert_quiet(diag("why", server.pid))


@pytest.mark.parametrize("role", ["turns", "thread-turns block", "thread-turns poll"])
def test_who_takes_turns_inside_a_process(role: str, python: str, tmp_path: Path) -> None:
    """For the kernel one process has the lock all the time, and waits for it all the time."""
    path = tmp_path / "app.lock"
    name, *how = role.split()
    with running(python, LOOPS, name, path, *how) as workers:
        wait_until(lambda: path.exists() and lock_lines(path), "one of them has the lock")
        assert_quiet(diag_locks(path))
        assert_quiet(diag("why", workers.pid))
