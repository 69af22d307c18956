"""File locks, from /proc/locks (fs/locks.c, lock_get_status) and /proc/PID/fdinfo."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.errors import MalformedError
from diag.model.facts import Fact

if TYPE_CHECKING:
    from diag.host import Host

_LINE = re.compile(
    r"^(?P<id>\d+):(?P<arrow> +->)? +(?P<type>[A-Z]+) +(?P<state>[A-Z*]+) +(?P<mode>[A-Z]+) +"
    r"(?P<pid>-?\d+) +(?P<device>[0-9a-f]+:[0-9a-f]+:\d+|<none>:0) +(?P<first>\d+) +(?P<last>\d+|EOF)"
)
_KINDS = {"FLOCK": "flock", "POSIX": "posix", "OFDLCK": "ofd", "LEASE": "lease", "DELEG": "lease"}


class FileLock(Fact, frozen=True, kw_only=True):
    """One line of /proc/locks or fdinfo: a lock that is held, or a request that waits for one."""

    number: int  # renumbered at every read: good only within one
    kind: str  # flock, posix, ofd, lease
    mode: str  # read, write
    pid: int  # who called the lock system call; -1 for OFD; may be dead or of another namespace
    device: int  # as st_dev
    inode: int
    first: int  # byte range
    last: int | None  # inclusive; None: to the end of the file
    depth: int = 0  # 0: held; n: waits, n-th in the queue's tree
    breaking: bool = False  # a lease that somebody's open() waits for
    text: str = ""  # the raw line
    listed: bool = True  # False: not in /proc/locks, only its keeper's fdinfo shows it


def parse_locks(text: str) -> tuple[FileLock, ...]:
    """Parse /proc/locks; waiters (``->``) follow the lock they wait for, indented by queue depth."""
    found: list[FileLock] = []
    for line in text.splitlines():
        lock = parse_line(line) if line.strip() else None
        if lock is None:
            continue
        root = next((above for above in reversed(found) if above.depth == 0), None)
        if lock.depth and not lock.inode and root is not None and root.number == lock.number:
            lock = replace(lock, device=root.device, inode=root.inode)
        found.append(lock)
    return tuple(found)


def parse_line(line: str) -> FileLock | None:
    """Parse one line; None for kinds that are no locks of ours (ACCESS, empty owner).

    Who waits for a lease to be given up has no file yet: ``<none>:0``, which becomes 0.
    """
    match = _LINE.match(line)
    if match is None:
        raise MalformedError(f"not a line of /proc/locks: {line[:120]!r}")
    kind = _KINDS.get(match["type"])
    if kind is None or (match["device"].startswith("<") and not match["arrow"]):
        return None
    major, minor, inode = ("0", "0", "0") if match["device"][0] == "<" else match["device"].split(":")
    return FileLock(
        number=int(match["id"]),
        kind=kind,
        mode="read" if match["mode"] in ("READ", "RDLCK") else "write",
        pid=int(match["pid"]),
        device=make_device(int(major, 16), int(minor, 16)),
        inode=int(inode),
        first=int(match["first"]),
        last=None if match["last"] == "EOF" else int(match["last"]),
        # "N: -> " is depth 1, and one more space for every waiter above it (measured on 6.18).
        depth=len(match["arrow"]) - 2 if match["arrow"] else 0,
        breaking=match["state"] in ("BREAKING", "BREAKER"),
        text=line.strip(),
    )


def make_device(major: int, minor: int) -> int:
    """Build st_dev from its parts, as gnu_dev_makedev(3) does."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def split_device(device: int) -> str:
    """Write a device as the kernel does: ``fe:00``, hexadecimal."""
    major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
    minor = device & 0xFF | (device >> 12) & ~0xFF
    return f"{major:02x}:{minor:02x}"


def collect(host: Host) -> tuple[FileLock, ...]:
    """Read all locks of the host; a table of more than a page can miss a line (``second_sample.TRIES``)."""
    return parse_locks(host.read("/proc/locks").decode("ascii", "replace"))


def parse_fdinfo(text: str) -> tuple[FileLock, ...]:
    """Find the locks held through one descriptor in its /proc/PID/fdinfo/FD."""
    lines = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("lock:")]
    return parse_locks("\n".join(lines))


_FLOCK = struct.Struct("=hh4xqq")
FLOCK_SIZE = _FLOCK.size
"""Bytes of a struct flock that say what is asked for (64-bit Linux; fcntl(2))."""


def parse_struct_flock(data: bytes) -> tuple[int, int | None]:
    """Read the range of a request: its first byte, its last or None for the end of the file.

    Offsets that count from elsewhere than the start of the file are not known to us: the whole file.
    """
    if len(data) < FLOCK_SIZE:
        return 0, None
    _, whence, start, length = _FLOCK.unpack_from(data)
    if whence != 0 or start < 0 or length < 0:
        return 0, None
    return start, start + length - 1 if length else None
