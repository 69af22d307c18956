"""What a sleeping thread asked for: the arguments of its system call, and the memory they point to."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from diag.host.names import to_text
from diag.model.io import Asked, Semop

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.host import Clock, Host
    from diag.model.facts import Thread

    Fields = dict[str, Any]

MOST = 4096
"""Descriptors of one poll or select that are looked at."""
MOST_SEMOPS = 500
"""Operations of one semop(2): what the kernel allows (SEMOPM)."""

_TIMER_ABSTIME = 1
_CLOCK_REALTIME = 0
_POLLIN, _POLLOUT = 1, 4
_AF_UNIX, _SOCKADDR_UN = 1, 110  # unix(7)
_SEM_UNDO = 0x1000
_FUTEX_COMMAND = 0x7F  # without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
_FUTEX_REALTIME = 0x100
FUTEX_WAIT = 0


class Call(NamedTuple):
    """A system call a thread sleeps in, with what is needed to read its arguments."""

    name: str
    arguments: tuple[int, ...]
    memory: Callable[[int, int], bytes]  # address, size -> bytes; b"" when they can not be read
    clock: Clock  # the moment at which it was seen


def decode(call: Call) -> Fields:
    """Return the fields of ``Asked`` that a system call's arguments give."""
    if not call.arguments:
        return {}
    if call.name in _ON_FIRST:
        return {"fds": (_int(call.arguments[0]),), "writes": call.name in _WRITING}
    decoder = _DECODERS.get(call.name)
    return decoder(call) if decoder else {}


def _int(argument: int) -> int:
    """Read a C int from a register: the upper half is whatever was there."""
    return argument & 0x7FFFFFFF if not argument & 0x80000000 else (argument & 0xFFFFFFFF) - (1 << 32)


def _seconds(data: bytes) -> float | None:
    if len(data) < 16:
        return None
    seconds, nanoseconds = struct.unpack("=qq", data)
    return float(seconds + nanoseconds / 1e9) if 0 <= nanoseconds < 10**9 else None


def _nanosleep(call: Call) -> Fields:
    return {"limit": _seconds(call.memory(call.arguments[0], 16))}


def _clock_nanosleep(call: Call) -> Fields:
    which, flags, request = call.arguments[:3]
    wanted = _seconds(call.memory(request, 16))
    if wanted is None or not flags & _TIMER_ABSTIME:
        return {"limit": wanted}
    return {"left": wanted - (call.clock.wall if which == _CLOCK_REALTIME else call.clock.monotonic)}


def _futex(call: Call) -> Fields:
    operation, timeout = call.arguments[1], call.arguments[3]
    if not timeout:
        return {}
    wanted = _seconds(call.memory(timeout, 16))
    if wanted is None:
        return {"limit": float("inf")}
    if operation & _FUTEX_COMMAND == FUTEX_WAIT:  # the only one whose time is relative: futex(2)
        return {"limit": wanted}
    return {"left": wanted - (call.clock.wall if operation & _FUTEX_REALTIME else call.clock.monotonic)}


def _milliseconds(argument: int) -> float | None:
    value = _int(argument)
    return value / 1000 if value >= 0 else None


def _poll(call: Call) -> Fields:
    address, count, timeout = call.arguments[:3]
    if call.name == "ppoll":
        limit = _seconds(call.memory(timeout, 16)) if timeout else None
    else:
        limit = _milliseconds(timeout)
    data = call.memory(address, 8 * min(count, MOST)) if count else b""
    wanted = [(fd, events) for fd, events, _ in struct.iter_unpack("=ihh", data[: len(data) & ~7]) if fd >= 0]
    writes = bool(wanted) and all(events & _POLLOUT and not events & _POLLIN for _, events in wanted)
    return {"fds": tuple(fd for fd, _ in wanted), "writes": writes, "limit": limit}


def _select(call: Call) -> Fields:
    count, reads, writes, _, timeout = call.arguments[:5]
    size = (min(count, MOST) + 63) // 64 * 8
    reading = _bits(call.memory(reads, size)) if reads and size else ()
    writing = _bits(call.memory(writes, size)) if writes and size else ()
    limit = None
    if timeout and call.name == "pselect6":
        limit = _seconds(call.memory(timeout, 16))
    elif timeout:
        limit = _microseconds(call.memory(timeout, 16))
    fds = tuple(sorted({*reading, *writing}))
    return {"fds": fds, "writes": bool(writing) and not reading, "limit": limit}


def _microseconds(data: bytes) -> float | None:
    """Read a struct timeval."""
    if len(data) < 16:
        return None
    seconds, microseconds = struct.unpack("=qq", data)
    return float(seconds + microseconds / 1e6)


def _bits(data: bytes) -> tuple[int, ...]:
    return tuple(8 * at + bit for at, byte in enumerate(data) for bit in range(8) if byte >> bit & 1)


def _epoll(call: Call) -> Fields:
    timeout = call.arguments[3]
    if call.name == "epoll_pwait2":
        limit = _seconds(call.memory(timeout, 16)) if timeout else None
    else:
        limit = _milliseconds(timeout)
    return {"fds": (_int(call.arguments[0]),), "limit": limit}


def _connect(call: Call) -> Fields:
    """Read the address too: as long as connect(2) waits, the socket has no other end."""
    fields: Fields = {"fds": (_int(call.arguments[0]),), "writes": True}
    data = call.memory(call.arguments[1], min(call.arguments[2], _SOCKADDR_UN))
    if len(data) > 3 and int.from_bytes(data[:2], sys.byteorder) == _AF_UNIX:
        name = data[2:]
        # An abstract name is shown as /proc/net/unix does: "@" for each NUL.
        text = name.replace(b"\0", b"@") if name.startswith(b"\0") else name.partition(b"\0")[0]
        fields["address"] = to_text(text.decode("utf-8", "surrogateescape"))
    return fields


def _semop(call: Call) -> Fields:
    semid, address, count = call.arguments[:3]
    timeout = call.arguments[3] if call.name == "semtimedop" else 0
    data = call.memory(address, 6 * min(count, MOST_SEMOPS))
    operations = tuple(
        Semop(number=number, change=change, undo=bool(flags & _SEM_UNDO))
        for number, change, flags in struct.iter_unpack("=Hhh", data[: len(data) // 6 * 6])
    )
    limit = (_seconds(call.memory(timeout, 16)) or float("inf")) if timeout else None
    return {"semid": _int(semid), "operations": operations, "limit": limit}


def _wait4(call: Call) -> Fields:
    return {"child": _int(call.arguments[0])}


def _waitid(call: Call) -> Fields:
    which, number = call.arguments[:2]
    if which == 3:  # P_PIDFD
        return {"fds": (_int(number),)}
    return {"child": {1: _int(number), 2: -_int(number)}.get(which, -1)}  # P_PID, P_PGID, P_ALL


def _open(call: Call) -> Fields:
    if call.name == "open":
        return {"path": _path(call, 0), "writes": call.arguments[1] & 3 == 1}  # O_WRONLY
    flags = call.arguments[2] if call.name == "openat" else 0
    return {"path": _path(call, 1), "base": _base(call), "writes": flags & 3 == 1}


def _at(call: Call) -> Fields:
    """Read a path that begins at a descriptor; an empty one stands for the descriptor itself."""
    base, path = _base(call), _path(call, 1)
    return {"fds": (base,)} if path is None and base is not None else {"path": path, "base": base}


def _base(call: Call) -> int | None:
    fd = _int(call.arguments[0])
    return fd if fd >= 0 else None  # AT_FDCWD


def _path(call: Call, which: int) -> str | None:
    address = call.arguments[which]
    # Page by page: the text may end just before memory that does not exist.
    text = call.memory(address, 4096 - address % 4096)
    if b"\0" not in text:
        text += call.memory(address + len(text), 4096)
    path = text.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return to_text(path) or None


_READING = frozenset(
    [
        "read",
        "pread64",
        "readv",
        "preadv",
        "recvfrom",
        "recvmsg",
        "recvmmsg",
        "accept",
        "accept4",
        "flock",
        "fcntl",
        "fsync",
        "fdatasync",
        "syncfs",
        "ioctl",
        "getdents",
        "getdents64",
        "fstat",
        "fstatfs",
        "close",
        "ftruncate",
        "fallocate",
        "lseek",
        "fchmod",
        "fchown",
        "fchdir",
    ]
)
_WRITING = frozenset(["write", "pwrite64", "writev", "pwritev", "sendto", "sendmsg", "sendmmsg"])
_ON_FIRST = _READING | _WRITING

_PATH_FIRST = (
    "stat lstat access chdir readlink statfs unlink rmdir mkdir rename truncate execve chmod chown utime"
    " getxattr lgetxattr setxattr listxattr"
)
_PATH_SECOND = (
    "newfstatat statx faccessat faccessat2 unlinkat mkdirat readlinkat fchmodat fchownat renameat renameat2"
    " utimensat execveat"
)
FILE_CALLS = frozenset(f"{_PATH_FIRST} {_PATH_SECOND} open openat openat2".split()) | frozenset(
    [
        "fstat",
        "fstatfs",
        "close",
        "ftruncate",
        "fallocate",
        "lseek",
        "fchmod",
        "fchown",
        "fchdir",
        "getdents",
        "getdents64",
        "fsync",
        "fdatasync",
        "sync",
        "syncfs",
        "pread64",
        "pwrite64",
        "preadv",
        "pwritev",
        "munmap",
        "mmap",
        "msync",
        "sendfile",
        "copy_file_range",
    ]
)
"""Calls that wait for nothing but a file system."""

_DECODERS: dict[str, Callable[[Call], Fields]] = {
    "nanosleep": _nanosleep,
    "clock_nanosleep": _clock_nanosleep,
    "futex": _futex,
    "poll": _poll,
    "ppoll": _poll,
    "select": _select,
    "pselect6": _select,
    "epoll_wait": _epoll,
    "epoll_pwait": _epoll,
    "epoll_pwait2": _epoll,
    "open": _open,
    "openat": _open,
    "openat2": _open,
    **{name: lambda call: {"path": _path(call, 0)} for name in _PATH_FIRST.split()},
    **dict.fromkeys(_PATH_SECOND.split(), _at),
    "connect": _connect,
    "semop": _semop,
    "semtimedop": _semop,
    "wait4": _wait4,
    "waitid": _waitid,
    "sendfile": lambda call: {"fds": (_int(call.arguments[0]),), "writes": True},
    "splice": lambda call: {"fds": (_int(call.arguments[0]),)},
}


def collect(host: Host, thread: Thread, clock: Clock) -> Asked | None:
    """Decode what ``thread`` asked for; None when it runs or its system call may not be seen."""
    if thread.syscall is None:
        return None

    def memory(address: int, size: int) -> bytes:
        try:
            return host.read_at(f"/proc/{thread.pid}/mem", address, size)
        except (OSError, OverflowError):
            return b""

    call = Call(thread.syscall.name or "", thread.syscall.arguments, memory, clock)
    return Asked(pid=thread.pid, tid=thread.tid, **decode(call))
