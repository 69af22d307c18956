"""File locks: which thread waits for which lock, and which processes keep it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from diag.collectors.file_locks import FileLock, split_device
from diag.model.graph import Resource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from diag.collectors.descriptors import Descriptor
    from diag.model.facts import Syscall

Request: TypeAlias = tuple[FileLock, FileLock, FileLock]
"""Who waits, the held lock at the root of its tree, and the line just above it."""

F_SETLKW = 7
F_OFD_SETLKW = 38
LOCK_SH = 1
BLOCKING_FCNTL = {F_SETLKW: "posix", F_OFD_SETLKW: "ofd"}

_FAMILY = {"flock": "flock", "posix": "record", "ofd": "record", "lease": "lease"}
_NAMES = {"flock": "flock", "posix": "POSIX lock", "ofd": "OFD lock", "lease": "lease"}


def resource_of(lock: FileLock, path: str | None, part: str | None = None) -> Resource:
    """Name a lock; ``part``: what SQLite calls its bytes.

    Two requests for the same file, family and range have equal keys.
    """
    where = path or f"inode {lock.inode} of device {split_device(lock.device)}"
    span = "" if (lock.first, lock.last) == (0, None) else f" (bytes {_range_words(lock)})"
    family = _FAMILY[lock.kind]
    return Resource(
        kind="file-lock",
        key=f"file-lock:{lock.device}:{lock.inode}:{family}:{lock.first}-{lock.last}",
        name=f"SQLite {part} lock on {where}" if part else f"{_NAMES[lock.kind]} on {where}{span}",
        path=path,
        device=lock.device,
        inode=lock.inode,
        lock=lock.kind,
        mode=lock.mode,
        first=lock.first,
        last=lock.last,
        part=part,
    )


def _range_words(lock: FileLock) -> str:
    return f"{lock.first}-{'end' if lock.last is None else lock.last}"


def conflicts(held: FileLock, wanted: FileLock) -> bool:
    """Whether ``wanted`` has to wait for ``held`` (flock(2), fcntl(2))."""
    if (held.device, held.inode) != (wanted.device, wanted.inode):
        return False
    if _FAMILY[held.kind] != _FAMILY[wanted.kind] or "write" not in (held.mode, wanted.mode):
        return False
    if held.kind == wanted.kind == "posix" and held.pid == wanted.pid:
        return False  # record locks of one process never conflict with each other
    return _overlap(held, wanted)


def _overlap(one: FileLock, other: FileLock) -> bool:
    first_ends_before = one.last is not None and one.last < other.first
    other_ends_before = other.last is not None and other.last < one.first
    return not (first_ends_before or other_ends_before)


def queue(locks: Sequence[FileLock]) -> tuple[Request, ...]:
    """Read the trees of /proc/locks: (waiting request, held lock at the root, request just above it).

    The three come from one read; the request above is the held lock itself for the first in the queue.
    """
    found = []
    above: list[FileLock] = []
    for lock in locks:
        if lock.depth == 0 or not above or above[0].number != lock.number:
            above = [lock]
            continue
        del above[lock.depth :]
        found.append((lock, above[0], above[-1]))
        above.append(lock)
    return tuple(found)


def keepers(lock: FileLock, descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Find the descriptors through which a lock is held, as their fdinfo says.

    A flock or OFD lock belongs to the open file description: every process that shares it keeps it.
    """
    return tuple(item for item in descriptors if any(same(lock, own) for own in item.locks))


def same(one: FileLock, other: FileLock) -> bool:
    """Whether two lines, of /proc/locks or fdinfo, speak of one lock (their numbers never agree)."""
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("kind", "mode", "pid", "device", "inode", "first", "last")
    )


def blocked_in(call: Syscall) -> tuple[str, int] | None:
    """Tell the kind of lock and the descriptor that a system call waits for."""
    if not call.arguments:
        return None
    fd = call.arguments[0]
    if call.name == "flock":
        return "flock", fd
    if call.name == "fcntl" and (kind := BLOCKING_FCNTL.get(call.arguments[1])):
        return kind, fd
    return None


def request_of(
    kind: str, call: Syscall, pid: int, file: tuple[int, int], span: tuple[int, int | None]
) -> FileLock:
    """Rebuild the request of a blocked thread from its system call.

    flock(2) names its mode in the second argument; of fcntl(2) it lies in the target's memory, and is
    taken to be exclusive. ``span`` is the first byte and the last, None for the end of the file.
    """
    shared = kind == "flock" and call.arguments[1] & LOCK_SH
    return FileLock(
        number=0,
        kind=kind,
        mode="read" if shared else "write",
        pid=pid,
        device=file[0],
        inode=file[1],
        first=span[0],
        last=span[1],
        depth=1,
        listed=False,
    )


def find_request(
    requests: Iterable[Request], asked: FileLock, files: Collection[tuple[int, int]]
) -> Request | None:
    """Find the line of /proc/locks for what a thread asks of one of ``files``: of the same bytes, if any.

    The owner of an OFD request is -1: any thread that asks for it may be the one.
    """
    found = [
        entry
        for entry in requests
        if entry[0].kind == asked.kind
        and entry[0].pid in (asked.pid, -1)
        and (entry[0].device, entry[0].inode) in files
    ]
    span = (asked.first, asked.last)
    return next(
        (entry for entry in found if (entry[0].first, entry[0].last) == span), next(iter(found), None)
    )
