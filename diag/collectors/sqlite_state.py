"""What SQLite's files say of a database: its journal mode, how far its WAL is, a journal left behind.

Formats: sqlite.org, fileformat2.html and walformat.html. Files are opened for a moment, and never locked.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from diag.model.facts import Fact

if TYPE_CHECKING:
    from diag.host import Host

_MAGIC = b"SQLite format 3\0"
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""How a rollback journal begins that still counts; a journal kept for reuse begins with zeros."""
_INDEX = 136  # bytes of a WAL index before its hash tables
_MARKS = 5


class State(Fact, frozen=True, kw_only=True):
    """One database file."""

    readable: bool = True  # False: it could not be read, or does not begin as SQLite's do
    reason: str = ""  # why, where not
    foreign: bool = False  # it could be read, and is no database, or an encrypted one
    empty: bool = False
    wal: bool = False
    journal: int = 0  # bytes of a rollback journal that counts
    log: int = 0  # bytes of the WAL
    frames: int = 0  # pages in the WAL that are committed
    copied: int = 0  # of these, how many a checkpoint has put into the database
    marks: tuple[int, ...] = ()  # up to which frame readers with READ0 to READ4 see the WAL


def collect(host: Host, path: str) -> State:
    """Read the beginnings of a database, its WAL index and its journal."""
    try:
        head = host.read_at(path, 0, 100)
    except OSError as error:
        return State(readable=False, reason=error.strerror or str(error))
    if head and not head.startswith(_MAGIC):
        return State(
            readable=False,
            foreign=True,
            reason="it does not begin as SQLite's files do: another format, or encrypted",
        )
    frames, copied, marks = parse_index(_begins(host, f"{path}-shm", _INDEX))
    journal = _begins(host, f"{path}-journal", len(_JOURNAL))
    return State(
        empty=not head,
        wal=head[18:20] == b"\2\2",
        journal=_size(host, f"{path}-journal") if journal == _JOURNAL else 0,
        log=_size(host, f"{path}-wal"),
        frames=frames,
        copied=copied,
        marks=marks,
    )


def parse_index(data: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Read a WAL index: frames, frames in the database already, and the readers' marks.

    walformat.html, 2.1: mxFrame at 16; nBackfill at 96, aReadMark[5] from 100 on, in the host's byte order.
    """
    if len(data) < _INDEX or not data[12]:  # isInit
        return 0, 0, ()
    order = "<" if sys.byteorder == "little" else ">"
    (frames,) = struct.unpack_from(f"{order}I", data, 16)
    copied, *marks = struct.unpack_from(f"{order}{1 + _MARKS}I", data, 96)
    return frames, copied, tuple(marks)


def _begins(host: Host, path: str, size: int) -> bytes:
    try:
        return host.read_at(path, 0, size)
    except OSError:
        return b""


def _size(host: Host, path: str) -> int:
    try:
        return host.status(path).size
    except OSError:
        return 0
