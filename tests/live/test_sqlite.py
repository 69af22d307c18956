"""A database that is locked: who keeps it, by SQLite's names of its bytes, and who polls for it."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import pids
from tests.support.cli import diag, diag_as_nobody
from tests.support.processes import lock_lines, running, wait_for_poller, wait_until

if TYPE_CHECKING:
    from tests.support.processes import Program

PROGRAM = "sqlite_cases.py"
SICK = {  # (case, journal): (code, who is to blame, what is named)
    ("sleeps", "delete"): ("L006", "holder", "SQLite RESERVED lock on"),
    ("sleeps", "wal"): ("L006", "holder", "SQLite WAL WRITE lock on"),
    ("receives", "wal"): ("L005", "holder", "SQLite WAL WRITE lock on"),
    ("reads", "delete"): ("L006", "holder", "SQLite SHARED lock on"),
    ("twice", "delete"): ("L001", "waiter", "SQLite RESERVED lock on"),
    ("twice", "wal"): ("L001", "waiter", "SQLite WAL WRITE lock on"),
    ("threads", "delete"): ("L006", "waiter", "thread has) holds the SQLite RESERVED lock on"),
    ("threads", "wal"): ("L006", "waiter", "thread has) holds the SQLite WAL WRITE lock on"),
    ("alone", "delete"): ("L006", "holder", "or its connection has locking_mode=exclusive"),
    ("checkpoint", "wal"): ("L006", "holder", "SQLite WAL READ0 lock on"),
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


def test_db_shows_all_locks_of_a_database_and_what_its_files_say(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        writer = begin(stack, python, "sleeps", "delete", tmp_path)
        for name in (tmp_path / "sleeps-delete.db", f"sqlite://{tmp_path}/sleeps-delete.db"):
            answer = diag("db", name)
            found = answer.found("L006", writer.said["holder"])
            assert "its transaction, which writes, is open" in found["summary"]
            assert found["chain"][0]["waiter"]["pid"] == writer.said["waiter"]
            (database,) = answer.json["db"]
            assert (database["product"], database["version"]) == ("SQLite", "rollback journal")
            assert database["notes"] == []  # the journal of a transaction that is open is no orphan
            pids_by_mode = {lock["mode"]: lock["holders"][0]["pid"] for lock in database["locks"]}
            assert pids_by_mode == dict.fromkeys(("read", "write"), writer.said["holder"])
        shown = diag("db", tmp_path / "sleeps-delete.db", form="terminal").stdout
        assert "SQLite RESERVED lock on" in shown
        assert f"polls   pid {writer.said['waiter']}" in shown


def test_db_names_the_reader_that_no_checkpoint_gets_past(python: str, tmp_path: Path) -> None:
    path = tmp_path / "old-wal.db"
    with running(python, PROGRAM, "old", "wal", path) as program:
        wait_until(lambda: len(notes(path)) == 2, "the WAL grows beside a reader")
        log, reader = notes(path)
        assert "20 committed pages" in log
        assert f"pid {program.said['holder']} " in reader
        assert f"{PROGRAM}:" in reader
        assert "the WAL only grows" in reader
        link = tmp_path / "link.db"
        link.symlink_to(path)
        assert notes(link) == [log, reader]


@pytest.mark.parametrize(("journal", "left"), [("delete", "-journal"), ("wal", "-wal")])
def test_db_tells_of_a_transaction_that_a_dead_process_left(
    python: str, tmp_path: Path, journal: str, left: str
) -> None:
    path = tmp_path / "dead.db"
    with running(python, PROGRAM, "dies", journal, path) as program:
        wait_until(lambda: not alive(program.said["holder"]), "the writer is dead")
        (note,) = notes(path)
        assert note.startswith(f"{path}{left} ("), note
        assert "never delete" in note


def test_db_of_what_is_no_database(tmp_path: Path) -> None:
    missing = diag("db", tmp_path / "none.db", form="terminal")
    assert (missing.code, "no such file" in missing.stderr) == (1, True)
    directory = diag("db", tmp_path, form="terminal")
    assert (directory.code, "is a directory" in directory.stderr) == (1, True)
    other = tmp_path / "other.db"
    other.write_bytes(b"something else entirely" * 100)
    answer = diag("db", other)
    assert (answer.code, answer.codes) == (4, [])
    assert "does not begin as SQLite's files do" in answer.json["gaps"][0]["reason"]


def test_db_of_a_healthy_database_is_quiet_and_a_replay_says_the_same(python: str, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with ExitStack() as stack:
        begin(stack, python, "short", "wal", tmp_path)
        diag("record", "-o", tape, "--", "db", tmp_path / "short-wal.db", form="terminal")
    again = diag("db", tmp_path / "short-wal.db", "--replay", tape)
    assert (again.code, again.codes) == (0, []), again
    assert again.json["db"][0]["version"] == "WAL"


def notes(path: Path) -> list[str]:
    answer = diag("db", path)
    assert answer.codes == [], answer
    found: list[str] = answer.json["db"][0]["notes"]
    return found


def alive(pid: int) -> bool:
    with suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return False
