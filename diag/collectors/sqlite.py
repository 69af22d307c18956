"""SQLite's files, and threads in its busy handler (sqlite.org: fileformat2.html, walformat.html)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from diag.collectors import maps
from diag.model.io import SqliteFile

if TYPE_CHECKING:
    from diag.host import Host

_MAGIC = b"SQLite format 3\0"
_WAL_INDEX = 3007000
"""Version of the WAL index: the first word of an -shm file, in the byte order of the host."""
_STACK = 2048
"""Bytes of a stack, from its end on, in which the callers of a sleep are looked for (measured: 0.5 KiB)."""


def form(host: Host, file: str, path: str, root: str) -> SqliteFile | None:
    """Tell a database or a WAL index by what is in it; ``file`` is any way to open it.

    Ask only where somebody has SQLite's bytes locked: to open a file takes a lease on it away (fcntl(2)).
    A WAL index counts only beside its database, which ``path`` names below the directory ``root``.
    """
    if _begins(host, file, len(_MAGIC)) == _MAGIC:
        return SqliteFile.DATABASE
    if not path.endswith("-shm") or _begins(host, file, 4) != _WAL_INDEX.to_bytes(4, sys.byteorder):
        return None
    beside = f"{root}{path.removesuffix('-shm')}"
    return SqliteFile.WAL_INDEX if _begins(host, beside, len(_MAGIC)) == _MAGIC else None


def stamp(host: Host, file: str) -> bytes:
    """Read what changes with every committed transaction: it lies in the first bytes of either file.

    That is the change counter of a database (offset 24), and the header of a WAL index (48 bytes).
    """
    return _begins(host, file, 48)


def busy_handler(host: Host, pid: int, tid: int) -> str | None:
    """Return the library from which a thread was put to sleep, if its name says that it is SQLite.

    That is the first code on its stack outside of the C library, which holds the system call itself.
    """
    try:
        words = host.read(f"/proc/{pid}/task/{tid}/syscall", 256).split()
        stack, code = int(words[-2], 16), int(words[-1], 16)
        found = host.code_words(pid, stack, _STACK)
    except (OSError, ValueError, IndexError):
        return None
    known = [item for item in maps.collect(host, pid) if "x" in item.access and item.path.startswith("/")]
    paths = [next((item.path for item in known if item.start <= at < item.end), "") for at in (code, *found)]
    first = next((path for path in paths if path and path != paths[0]), "")
    return first if "sqlite" in first.rpartition("/")[2].lower() else None


def _begins(host: Host, path: str, size: int) -> bytes:
    try:
        return host.read_at(path, 0, size)
    except OSError:
        return b""
