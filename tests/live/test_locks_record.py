"""A recorded look at locks is the same look, anywhere, later, by anybody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks
from tests.support.cli import Answer, diag, diag_as_nobody
from tests.support.interpreters import on_pythons
from tests.support.processes import running, wait_for_call, wait_for_poller

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.fixture
def recorded(python: str, public: Path) -> tuple[Path, Path, Answer]:
    """A holder, a waiter in the kernel and a poller, recorded; all of them are gone again."""
    path, tape = public / "app.lock", public / "incident.diag"
    with (
        running(python, LOCKS, "hold", path, "flock", "accept") as holder,
        running(python, LOCKS, "wait", path, "flock") as waiter,
    ):
        wait_for_call(holder.pid, "accept")
        wait_for_call(waiter.pid, "flock")
        answer = diag("record", "-o", tape, "--", "locks", path, "--format", "json", form="terminal")
    path.unlink()
    os.chmod(tape, 0o644)
    return path, tape, answer


@on_pythons("3.12")
def test_a_replay_gives_the_same_bytes(recorded: tuple[Path, Path, Answer]) -> None:
    path, tape, answer = recorded
    assert answer.code == 3, answer
    again = diag_locks(path, "--replay", tape)
    assert (again.code, again.stdout) == (3, answer.stdout)
    other = diag_as_nobody("locks", path, "--replay", tape)
    assert (other.code, other.stdout) == (3, answer.stdout)


@on_pythons("3.12")
def test_a_recording_says_what_it_does_not_hold(recorded: tuple[Path, Path, Answer]) -> None:
    _, tape, _ = recorded
    answer = diag("locks", "/another/path", "--replay", tape)
    assert answer.code == 1
    assert "not in the recording" in answer.stderr
    assert "the same paths" in answer.stderr


@on_pythons("3.12")
def test_damaged_recordings_are_said_to_be_damaged(recorded: tuple[Path, Path, Answer]) -> None:
    path, tape, _ = recorded
    whole = tape.read_bytes()
    for bad in (b"", b"hello", whole[: len(whole) // 2], whole[:17] + os.urandom(300)):
        tape.write_bytes(bad)
        answer = diag_locks(path, "--replay", tape)
        assert answer.code == 1, answer
        assert "recording" in answer.stderr
        assert "hint: " in answer.stderr


@on_pythons("2.7", "3.12")
def test_a_poller_is_replayed(python: str, tmp_path: Path) -> None:
    path, tape = tmp_path / "app.lock", tmp_path / "incident.diag"
    with running(python, LOCKS, "daemon", path), running(python, LOCKS, "poll-plain", path) as poller:
        wait_for_poller(poller.pid, path)
        answer = diag("record", "-o", tape, "--", "locks", path, "--format", "json", form="terminal")
    assert answer.code == 3, answer
    assert '"polling"' in answer.stdout
    assert diag_locks(path, "--replay", tape).stdout == answer.stdout
