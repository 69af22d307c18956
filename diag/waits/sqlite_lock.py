"""Names of the bytes that SQLite locks, and whom somebody who polls for them waits for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.io import SqliteFile as Form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.collectors.file_locks import FileLock


_PENDING, _RESERVED, _SHARED, _END = 0x40000000, 0x40000001, 0x40000002, 0x400001FF
"""Bytes of a database, far beyond most of its contents: os.h of SQLite, "PENDING_BYTE"."""
_BYTES = {
    Form.DATABASE: {
        "PENDING": (_PENDING, _PENDING),
        "RESERVED": (_RESERVED, _RESERVED),
        "SHARED": (_SHARED, _END),
    },
    # os_unix.c, UNIX_SHM_BASE, and wal.c, "WAL_WRITE_LOCK"; the last is the "dead man's switch".
    Form.WAL_INDEX: {
        name: (byte, byte)
        for byte, name in enumerate(
            ("WRITE", "CKPT", "RECOVER", "READ0", "READ1", "READ2", "READ3", "READ4", "DMS"), 120
        )
    },
}
_WRITES = {Form.DATABASE: ("PENDING", "RESERVED"), Form.WAL_INDEX: ("WRITE",)}
"""What a connection has that writes."""
_READS = {Form.DATABASE: ("SHARED",), Form.WAL_INDEX: ("READ0", "READ1", "READ2", "READ3", "READ4")}


def may_be(lock: FileLock) -> bool:
    """Whether a lock is on bytes that SQLite locks: only then its file is looked into."""
    return lock.kind in ("posix", "ofd") and any(_parts(form, lock) for form in Form)


def name(form: Form, lock: FileLock) -> str | None:
    """Name the bytes of a lock as SQLite does: "RESERVED", "WAL WRITE"; None for others."""
    parts = _parts(form, lock)
    if form is Form.WAL_INDEX:
        return f"WAL {'+'.join(parts)}" if parts else None
    if "SHARED" in parts and lock.mode == "write":
        return "EXCLUSIVE"
    return "+".join(parts) or None


def blockers(form: Form, locks: Sequence[FileLock], pid: int, connections: int) -> tuple[FileLock, ...]:
    """The locks on one file that a process has to wait for which is told that the file is busy.

    Whoever writes already waits until all others have read; everybody else waits for who writes. A process
    with several ``connections`` may wait for itself, for its other one.
    """
    mine = [lock for lock in locks if lock.pid == pid]
    others = [lock for lock in locks if lock.pid != pid]
    writes = tuple(_having(form, mine, _WRITES[form], "write"))
    if not writes:
        return tuple(_having(form, others, _BYTES[form], "write"))
    readers = tuple(_having(form, others, _READS[form], "read"))
    return readers or (writes if connections > 1 else ())


def _having(form: Form, locks: Iterable[FileLock], names: Iterable[str], mode: str) -> Iterator[FileLock]:
    wanted = set(names) - {"DMS"}
    return (lock for lock in locks if lock.mode == mode and wanted & set(_parts(form, lock)))


def _parts(form: Form, lock: FileLock) -> tuple[str, ...]:
    """The names of all bytes of a lock; none if it is on others as well."""
    spans = _BYTES[form]
    lowest, highest = min(first for first, _ in spans.values()), max(last for _, last in spans.values())
    if lock.last is None or lock.first < lowest or lock.last > highest:
        return ()
    return tuple(part for part, (first, last) in spans.items() if lock.first <= last and first <= lock.last)
