"""Waiters that the kernel does not list: they try, sleep, and try again."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, lock_of, pids
from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages, version_of
from tests.support.processes import running, started, wait_for_call, wait_for_poller

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

# role: pins by version of Python
LIBRARIES = {
    "poll-filelock": {
        "2.7": "filelock==2.0.8",
        "3.6": "filelock==3.0.12",
        "3.12": "filelock==3.16.1",
        "3.13": "filelock==4.2.11",
    },
    "poll-portalocker": {"2.7": "portalocker==1.7.1", "3.12": "portalocker==3.2.0"},
    "poll-fasteners": {"2.7": "fasteners==0.16.3", "3.12": "fasteners==0.19"},
    "poll-zc-lockfile": {"3.12": "zc.lockfile==3.0.post1"},
    "poll-clh": {
        "2.7": "concurrent-log-handler==0.9.19",
        "3.12": "concurrent-log-handler==0.9.25",
    },
}
CASES = [
    pytest.param(role, version, pin, id=f"{pin}-py{version}")
    for role, pins in LIBRARIES.items()
    for version, pin in pins.items()
]


@pytest.mark.parametrize(("role", "python", "pin"), CASES, indirect=["python"])
def test_a_library_that_polls(role: str, python: str, pin: str, tmp_path: Path) -> None:
    path = tmp_path / ".__app.lock" if role == "poll-clh" else tmp_path / "app.lock"
    kind = "posix" if role == "poll-fasteners" else "flock"
    libraries = packages(python, pin)
    with (
        running(python, LOCKS, "hold", path, kind) as holder,
        running(python, LOCKS, role, path, path=libraries) as poller,
    ):
        if role == "poll-clh":
            wait_for_call(poller.pid, "flock")
        else:
            wait_for_poller(poller.pid, path)
        answer = diag_locks(path)
        assert answer.codes == ["L006"], answer
        finding = answer.found("L006", holder.pid)
        assert pids(finding["victims"]) == {poller.pid}, answer
        [waiter] = lock_of(answer, path)["waiters"]
        # concurrent-log-handler asks for a blocking lock: the kernel lists it.
        assert waiter["how"] == ("blocked" if role == "poll-clh" else "polling")
        # The line that uses the lock, not one inside the library of locks.
        user = "concurrent_log_handler/__init__.py" if role == "poll-clh" else "locks.py"
        assert waiter["where"]["file"].endswith(user), answer


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize("role", ["poll-plain", "poll-event", "poll-select"])
def test_a_loop_written_by_hand(role: str, python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    kind = "posix" if role == "poll-event" else "flock"
    with (
        running(python, LOCKS, "hold", path, kind) as holder,
        running(python, LOCKS, role, path) as poller,
    ):
        wait_for_poller(poller.pid, path)
        answer = diag_locks(path)
        finding = answer.found("L006", holder.pid)
        assert pids(finding["victims"]) == {poller.pid}, answer
        [waiter] = lock_of(answer, path)["waiters"]
        assert waiter["how"] == "polling"
        assert role.replace("-", "_") in waiter["where"]["function"], answer


LOOP = """
import fcntl, sys, time
file = open(sys.argv[1], "a")
while True:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except (IOError, OSError):
        time.sleep(0.1)
"""


@on_pythons("2.7", "3.13")
def test_a_program_on_the_command_line_whose_variables_name_no_path(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        started([python, "-c", LOOP, str(path)]) as (poller, _),
    ):
        wait_for_poller(poller.pid, path)
        for answer in (diag_locks(path), diag("why", poller.pid)):
            finding = answer.found("L006", holder.pid)
            assert pids(finding["victims"]) == {poller.pid}, answer
            assert finding["chain"][0]["where"]["line"] == 6, answer


@on_pythons("2.7", "3.13")
def test_a_lock_by_existence_whose_owner_is_dead(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    dead = subprocess.Popen(["true"])
    dead.wait()
    path.write_text(f"{dead.pid}\n", encoding="ascii")
    with running(python, LOCKS, "poll-exists", path) as poller:
        wait_for_poller(poller.pid, path)
        answer = diag_locks(path)
        finding = answer.found("L008")
        assert pids(finding["victims"]) == {poller.pid}, answer
        assert str(dead.pid) in str(finding)


def test_a_lock_by_existence_whose_owner_lives_is_not_stale(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    with running(python, LOCKS, "only-open", tmp_path / "other") as owner:
        path.write_text(f"{owner.pid}\n", encoding="ascii")
        with running(python, LOCKS, "poll-exists", path) as poller:
            wait_for_poller(poller.pid, path)
            assert "L008" not in diag_locks(path).codes


@pytest.mark.parametrize("python", ["3.12"], indirect=True)
def test_a_soft_file_lock_that_nobody_holds(python: str, tmp_path: Path) -> None:
    """SoftFileLock of filelock: a file that a killed process has left behind."""
    path = tmp_path / "app.lock"
    path.touch()
    libraries = packages(python, "filelock==3.16.1")
    assert version_of(python) == "3.12"
    with running(python, LOCKS, "poll-soft-filelock", path, path=libraries) as poller:
        wait_for_poller(poller.pid, path)
        finding = diag_locks(path).found("L008")
        assert pids(finding["victims"]) == {poller.pid}
        assert os.path.exists(path)
