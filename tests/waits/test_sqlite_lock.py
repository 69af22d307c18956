"""SQLite's bytes, as Linux 6.18 listed them for SQLite 3.40."""

from __future__ import annotations

import pytest

from diag.collectors.file_locks import FileLock, parse_locks
from diag.model.io import SqliteFile
from diag.waits.sqlite_lock import blockers, may_be, name

DATABASE, INDEX = SqliteFile.DATABASE, SqliteFile.WAL_INDEX


def lock(mode: str, first: int, last: int | None, pid: int = 5) -> FileLock:
    end = "EOF" if last is None else last
    [found] = parse_locks(f"1: POSIX  ADVISORY  {mode} {pid} fe:00:97 {first} {end}\n")
    return found


RESERVED = lock("WRITE", 1073741825, 1073741825)
SHARED = lock("READ ", 1073741826, 1073742335)
READER = lock("READ ", 1073741826, 1073742335, pid=6)
WRITE = lock("WRITE", 120, 120)


@pytest.mark.parametrize(
    ("form", "one", "words"),
    [
        (DATABASE, RESERVED, "RESERVED"),
        (DATABASE, SHARED, "SHARED"),
        (DATABASE, lock("WRITE", 1073741824, 1073741825), "PENDING+RESERVED"),
        (DATABASE, lock("WRITE", 1073741824, 1073742335), "EXCLUSIVE"),
        (INDEX, WRITE, "WAL WRITE"),
        (INDEX, lock("WRITE", 121, 121), "WAL CKPT"),
        (INDEX, lock("WRITE", 120, 122), "WAL WRITE+CKPT+RECOVER"),
        (INDEX, lock("READ ", 127, 128), "WAL READ4+DMS"),
        (DATABASE, WRITE, None),
        (INDEX, RESERVED, None),
    ],
)
def test_names(form: SqliteFile, one: FileLock, words: str | None) -> None:
    assert name(form, one) == words


def test_other_bytes_are_none_of_its() -> None:
    assert not may_be(lock("WRITE", 0, None))
    assert not may_be(lock("WRITE", 120, 200))
    assert not may_be(lock("READ ", 1073741826, None))


def test_whom_one_waits_for() -> None:
    both = (RESERVED, SHARED)
    assert blockers(DATABASE, both, 6, 1) == (RESERVED,)
    # It writes itself: only another connection of its own can stand in the way, or readers.
    assert blockers(DATABASE, both, 5, 1) == ()
    assert blockers(DATABASE, both, 5, 2) == (RESERVED,)
    assert blockers(DATABASE, (*both, READER), 5, 2) == (READER,)
    assert blockers(DATABASE, (SHARED, READER), 7, 1) == ()
    dms = lock("READ ", 128, 128)
    assert blockers(INDEX, (WRITE, dms), 6, 1) == (WRITE,)
    assert blockers(INDEX, (dms,), 6, 1) == ()
