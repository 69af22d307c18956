"""A file lock whose holder no process can see: diag says so, and not that all is well."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, pids
from tests.support.cli import diag, in_new_pid_namespace, inside
from tests.support.processes import (
    PROGRAMS,
    children,
    running,
    started,
    wait_for_call,
    wait_for_poller,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_FLIGHT = """
import array, fcntl, os, socket, sys, time
one, two = socket.socketpair()
held = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(held, fcntl.LOCK_EX)
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held]))])
os.close(held)
if not os.fork():
    fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)
print("ready", flush=True)
time.sleep(1000)
"""


@contextmanager
def waiter_behind_a_message(python: str, path: Path) -> Iterator[int]:
    """Somebody waits for a lock whose only descriptor lies in a socket that nobody reads."""
    with started([python, "-c", IN_FLIGHT, str(path)]) as (process, _):
        [waiter] = wait_until(lambda: children(process.pid), "a waiter")
        wait_for_call(waiter, "flock")
        yield waiter


@pytest.mark.parametrize("command", ["why", "locks"])
def test_a_descriptor_on_its_way(command: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with waiter_behind_a_message(python, path) as waiter:
        answer = diag(command, waiter if command == "why" else path)
        assert (answer.code, answer.codes, answer.json["verdict"]) == (4, [], "blind"), answer
        assert any("SCM_RIGHTS" in gap["reason"] for gap in answer.json["gaps"]), answer


def test_a_holder_outside_of_the_pid_namespace(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        running([*in_new_pid_namespace(), python], LOCKS, "wait", path) as outer,
    ):
        [waiter] = wait_until(lambda: children(outer.pid), "a process inside")
        wait_for_call(waiter, "flock")
        answer = diag("why", 1, within=inside(waiter))
        assert (answer.code, answer.json["verdict"]) == (4, "blind"), answer
        assert any("outside the container" in gap["hint"] for gap in answer.json["gaps"]), answer
        from_outside = diag("why", waiter)
        assert from_outside.found("L006", holder.pid)["victims"][0]["container_pid"] == 1, from_outside


PROGRAMS_IN_A_LOOP = """
import subprocess, sys, time
path = sys.argv[1]
while subprocess.call(["flock", "-n", path, "true"]) != 0:
    time.sleep(0.5)
"""


PERL_IN_A_LOOP = """
use Fcntl ":flock";
open(OWN, ">>", "$ARGV[0].own"); flock(OWN, LOCK_EX);
open(FILE, ">>", $ARGV[0]);
until (flock(FILE, LOCK_EX | LOCK_NB)) { select(undef, undef, undef, 0.2) }
"""


@pytest.mark.parametrize(
    "case", ["programs in a loop", "shell", "shell script", "shell descriptor", "Perl with a lock of its own"]
)
@pytest.mark.parametrize("command", ["locks", "why"])
def test_what_may_poll_unseen_is_no_all_clear(case: str, command: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    script = tmp_path / "job.sh"
    loop = "until flock -n {} true; do sleep 0.5; done; true"
    script.write_text(loop.format(path), encoding="utf-8")
    argv = {
        "programs in a loop": [python, "-c", PROGRAMS_IN_A_LOOP, str(path)],
        "shell": ["sh", "-c", loop.format(path)],
        "shell script": ["bash", str(script)],
        "shell descriptor": ["bash", "-c", f"exec 9>{path}; until flock -n 9; do sleep 0.5; done; true"],
        "Perl with a lock of its own": ["perl", "-e", PERL_IN_A_LOOP, str(path)],
    }[case]
    with running(python, LOCKS, "hold", path), started(argv) as (process, _):
        wait_for_poller(process.pid, path)
        answer = diag(command, path if command == "locks" else process.pid)
        assert (answer.code, answer.codes, answer.json["verdict"]) == (4, [], "blind"), answer
        assert any(f"pid {process.pid}" in gap["hides"] for gap in answer.json["gaps"]), answer


def test_what_others_lock_among_themselves_is_not_missed_in_a_pid_namespace(
    python: str, tmp_path: Path
) -> None:
    """It is said that they are not listed; but nobody here waits for them."""
    with running(python, LOCKS, "hold", tmp_path / "app.lock"):
        answer = diag("locks", within=in_new_pid_namespace())
        assert (answer.code, answer.json["verdict"]) == (0, "clear"), answer
        assert any("outside of this pid namespace" in gap["hides"] for gap in answer.json["gaps"]), answer
        scan = diag("scan", within=in_new_pid_namespace())
        assert not [code for code in scan.codes if code.startswith("L")], scan


@pytest.mark.parametrize("command", ["locks", "scan"])
def test_a_holder_outside_among_all_locks(command: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path),
        running([*in_new_pid_namespace(), python], LOCKS, "wait", path) as outer,
    ):
        [waiter] = wait_until(lambda: children(outer.pid), "a process inside")
        wait_for_call(waiter, "flock")
        answer = diag(command, within=inside(waiter))
        assert answer.json["verdict"] != "clear", answer
        assert any("holds the lock" in gap["hides"] for gap in answer.json["gaps"]), answer


def test_a_waiter_outside_among_all_locks(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running([*in_new_pid_namespace(), python], LOCKS, "hold", path) as outer:
        [holder] = wait_until(lambda: children(outer.pid), "a process inside")
        assert diag("locks", within=inside(holder)).code == 0
        with running(python, LOCKS, "wait", path) as waiter:
            wait_for_call(waiter.pid, "flock")
            for args in (("locks",), ("locks", path)):
                answer = diag(*args, within=inside(holder))
                assert (answer.code, answer.json["verdict"]) == (4, "blind"), answer
                assert any("who waits for locks" in gap["hides"] for gap in answer.json["gaps"]), answer


def test_a_keeper_among_all_locks_whose_taker_is_gone(python: str, tmp_path: Path) -> None:
    """In a pid namespace /proc/locks has no line for it."""
    path = tmp_path / "app.lock"
    script = (
        f"{python} {PROGRAMS / LOCKS} fork-and-leave {path}; exec {python} {PROGRAMS / LOCKS} wait {path}"
    )
    with started([*in_new_pid_namespace(), "sh", "-c", script]) as (outer, _):
        [waiter] = wait_until(lambda: children(outer.pid), "the first process inside")
        wait_for_call(waiter, "flock")
        answer = diag("locks", within=inside(waiter))
        finding = answer.found("L003")
        assert pids(finding["victims"]) == {1}, answer
