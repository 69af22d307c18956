"""Services cannot stop or start: a log-rotation lock that is never released."""

from __future__ import annotations

import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages, version_of
from tests.support.processes import (
    children,
    lock_lines,
    running,
    state,
    wait_for_poller,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.processes import Program

pytestmark = pytest.mark.live

WORKERS = 3
SOURCE = Path(__file__).resolve().parents[1] / "programs" / "incident3.py"


def filelock(python: str) -> Path:
    """2.0.4 is what the incident's stack shows: no local names its path, only the FileLock object."""
    return packages(python, "filelock==2.0.4" if version_of(python) == "2.7" else "filelock==3.16.1")


class Incident:
    """The service after somebody has told it to stop, and a newcomer that wants to start."""

    def __init__(self, service: Program, newcomer: Program, lock: Path) -> None:
        self.service = service.pid
        self.workers = set(service.said.values())
        self.newcomer = newcomer.pid
        self.lock = lock
        self.culprit = owner(lock)


def owner(lock: Path) -> int:
    """Return the pid that took the lock, as /proc/locks has it; 0 while nobody has."""
    found = re.search(r"FLOCK +ADVISORY +WRITE +(\d+)", "\n".join(lock_lines(lock)))
    return int(found[1]) if found else 0


@contextmanager
def incident(python: str, directory: Path) -> Iterator[Incident]:
    lock = directory / ".python-error.log"
    libraries = filelock(python)
    with running(python, "incident3.py", "service", directory, WORKERS, path=libraries) as service:
        os.kill(service.pid, signal.SIGTERM)
        wait_until(lambda: lock.exists() and owner(lock), "a worker rotates the log")

        def compressed() -> bool:
            # gzip has ended and nobody asks for its status: a handler runs on top of the wait.
            pids = children(owner(lock))
            return bool(pids) and all(state(pid) == "Z" for pid in pids)

        wait_until(compressed, "the holder's handler is entered again")
        with running(python, "incident3.py", "newcomer", directory, path=libraries) as newcomer:
            for pid in (*service.said.values(), newcomer.pid):
                wait_for_poller(pid, lock)
            yield Incident(service, newcomer, lock)


def line_of(text: str) -> int:
    """Return the number of the one line of the program that holds ``text``."""
    numbers = [
        number
        for number, line in enumerate(SOURCE.read_text(encoding="utf-8").splitlines(), 1)
        if text in line
    ]
    assert len(numbers) == 1, numbers
    return numbers[0]


@on_pythons("2.7", "3.12", "3.13")
def test_the_worker_that_waits_for_itself_is_named_with_both_lines_and_the_handler(
    python: str, tmp_path: Path
) -> None:
    with incident(python, tmp_path) as seen:
        answer = diag("locks", seen.lock)
        assert answer.code == 3, answer
        finding = answer.found("L001", seen.culprit)

        victims = {victim["pid"] for victim in finding["victims"]}
        assert victims == (seen.workers - {seen.culprit}) | {seen.newcomer}, answer
        assert finding["confidence"] in {"certain", "likely"}
        assert finding["severity"] == "critical"
        assert finding["resource"]["path"] == str(seen.lock)
        told = str(finding)
        # Taken in the rotation, again from the handler; and the parent that keeps signalling.
        assert "doRollover" in told
        assert str(line_of("with FileLock(")) in told
        assert "exit_signal_handler" in told
        assert str(seen.service) in told
        # One cause, one finding: the siblings re-enter too, but hold nothing.
        assert answer.codes == ["L001"], answer


@on_pythons("2.7")  # 3.x ends it by itself after a hundred signals: its handlers nest to the recursion limit
def test_why_of_the_newcomer_names_the_worker_that_waits_for_itself(python: str, tmp_path: Path) -> None:
    with incident(python, tmp_path) as seen:
        answer = diag("why", seen.newcomer)
        assert answer.code == 3, answer
        finding = answer.found("L001", seen.culprit)
        assert answer.codes == ["L001"], answer
        assert finding["resource"]["path"] == str(seen.lock)
        assert seen.newcomer in {victim["pid"] for victim in finding["victims"]}
        assert str(seen.service) in finding["summary"]


@on_pythons("2.7", "3.13")
def test_why_of_the_parent_names_the_worker_that_it_cannot_end(python: str, tmp_path: Path) -> None:
    with incident(python, tmp_path) as seen:
        answer = diag("why", seen.service)
        finding = answer.found("L001", seen.culprit)
        assert answer.codes == ["L001"], answer
        assert {seen.service, *seen.workers} - {seen.culprit} <= {
            victim["pid"] for victim in finding["victims"]
        }
        assert str(seen.service) in finding["summary"]


@on_pythons("2.7", "3.13")
def test_all_who_wait_and_the_one_who_holds_are_listed(python: str, tmp_path: Path) -> None:
    with incident(python, tmp_path) as seen:
        answer = diag("locks", seen.lock)
        [lock] = [lock for lock in answer.json["locks"] if lock["path"] == str(seen.lock)]
        assert {holder["pid"] for holder in lock["holders"]} == {seen.culprit}, answer
        assert {waiter["pid"] for waiter in lock["waiters"]} == seen.workers | {seen.newcomer}
        assert {waiter["how"] for waiter in lock["waiters"]} == {"polling"}
        assert lock["kind"] == "flock"


def test_stacks_say_what_each_worker_waits_for(python: str, tmp_path: Path) -> None:
    with incident(python, tmp_path) as seen:
        told: set[int] = set()
        for _ in range(4):  # a poller that is awake when it is looked at is not waiting
            answer = diag("stacks", seen.service)
            told |= {
                thread["pid"]
                for thread in answer.json["stacks"]
                if f"held by pid {seen.culprit}" in (thread["waits_for"] or {}).get("words", "")
            }
        assert told >= seen.workers - {seen.culprit}


@on_pythons("2.7", "3.13")
def test_a_recording_gives_the_same_report(python: str, tmp_path: Path) -> None:
    tape = tmp_path / "incident.diag"
    with incident(python, tmp_path) as seen:
        words = ["locks", "--format", "json", str(seen.lock)]
        live = diag("record", "-o", tape, "--", *words, form="terminal")
        assert live.code == 3, live
    again = diag(*words, "--replay", tape, form="terminal")
    assert again.code == 3, again
    assert again.stdout == live.stdout
