"""A database that is locked: who keeps it, by SQLite's names of its bytes, and who polls for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.live.stories import pids
from tests.support.cli import diag, diag_as_nobody
from tests.support.processes import lock_lines, running, wait_for_poller, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.processes import Program

PROGRAM = "sqlite_cases.py"
SICK = {  # (case, journal): (code, who is to blame, what is named)
    ("sleeps", "delete"): ("L006", "holder", "SQLite RESERVED lock on"),
    ("sleeps", "wal"): ("L006", "holder", "SQLite WAL WRITE lock on"),
    ("receives", "wal"): ("L005", "holder", "SQLite WAL WRITE lock on"),
    ("reads", "delete"): ("L006", "holder", "SQLite SHARED lock on"),
    ("twice", "delete"): ("L001", "waiter", "SQLite RESERVED lock on"),
    ("twice", "wal"): ("L001", "waiter", "SQLite WAL WRITE lock on"),
}


def begin(stack: ExitStack, python: str, case: str, journal: str, directory: Path) -> Program:
    """Start a case, and wait until its transaction is open and somebody polls."""
    database = directory / f"{case}-{journal}.db"
    program = stack.enter_context(running(python, PROGRAM, case, journal, database))
    wait_until(lambda: lock_lines(database), "the database is locked")
    if case != "nobody":
        wait_for_poller(program.said["waiter"], database)
    return program


def test_who_keeps_the_database_and_who_polls(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        programs = {(case, journal): begin(stack, python, case, journal, tmp_path) for case, journal in SICK}
        wait_until(lambda: "WRITE" in str(lock_lines(tmp_path / "reads-delete.db")), "the writer waits")
        waiters = [program.said["waiter"] for program in programs.values()]
        for answer in (diag("locks", tmp_path), diag("why", *waiters)):
            assert len(answer.codes) == len(SICK), answer
            for key, (code, who, named) in SICK.items():
                program = programs[key]
                found = answer.found(code, program.said[who])
                assert named in found["summary"], found
                assert found["chain"][0]["waiter"]["pid"] == program.said["waiter"], found
                assert found["chain"][0]["where"]["file"].endswith(PROGRAM), found
                if who == "holder":
                    assert pids(found["victims"]) >= {program.said["waiter"]}, found


def test_of_a_database_in_wal_mode_its_index_is_asked_for_too(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        program = begin(stack, python, "sleeps", "wal", tmp_path)
        answer = diag("locks", tmp_path / "sleeps-wal.db")
        assert answer.codes == ["L006"], answer
        assert answer.found("L006", program.said["holder"])
        assert any(lock["path"].endswith("-shm") for lock in answer.json["locks"])
        hidden = diag_as_nobody("locks", tmp_path / "sleeps-wal.db")
        assert hidden.code != 0, hidden


def test_healthy_databases_give_nothing(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for case, journal in (("short", "wal"), ("short", "delete"), ("nobody", "wal")):
            begin(stack, python, case, journal, tmp_path)
        answer = diag("locks", tmp_path)
        assert answer.codes == [], answer
