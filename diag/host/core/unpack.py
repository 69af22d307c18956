"""Opens a core file; a compressed one is unpacked into a file that has no name and goes with us."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from diag.host import unpack
from diag.host.names import to_path

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[[float], object]

LARGEST = 64 << 30
"""Bytes a core may unpack to."""
SPARE = 256 << 20
"""Bytes of the disk that are left free."""
STEP = 1 << 20


class Opened(NamedTuple):
    """An open core. ``path`` is where children of ours find it."""

    handle: int
    size: int
    path: str


def open_core(path: str, say: Say) -> Opened:
    """Open a core; ``say`` is told how much of a compressed one is unpacked (0 to 1).

    Raises ``OSError``: ENOEXEC when it is not an ordinary file, ENOSPC and EFBIG when there is no room.
    """
    place = to_path(path)
    if stat.S_ISDIR(os.stat(place).st_mode):
        raise OSError(errno.EISDIR, "a directory, not a core file")
    if not stat.S_ISREG(os.stat(place).st_mode):
        raise OSError(errno.ENOEXEC, "not a core file: it is not an ordinary file")
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = unpack.compression(handle)
    if kind is None:
        return Opened(handle, os.fstat(handle).st_size, place)
    try:
        return _unpacked(handle, kind, say)
    finally:
        os.close(handle)


def _unpacked(packed: int, kind: str, say: Say) -> Opened:
    whole = max(os.fstat(packed).st_size, 1)
    target, name = tempfile.mkstemp(prefix="diag-core-")
    os.unlink(name)  # whatever becomes of us, nothing is left behind
    room = os.fstatvfs(target)
    most = min(LARGEST, room.f_bavail * room.f_frsize - SPARE)
    try:
        size = _copy(
            partial(_next, unpack.reader(packed, kind), memoryview(bytearray(STEP))),
            target,
            most,
            lambda: say(_place(packed) / whole),
        )
        os.ftruncate(target, size)
    except OSError:
        os.close(target)
        raise
    return Opened(target, size, f"/proc/{os.getpid()}/fd/{target}")


def _place(handle: int) -> int:
    return os.lseek(handle, 0, os.SEEK_CUR)


def _copy(read: Callable[[int], bytes], target: int, most: int, say: Callable[[], object]) -> int:
    """Write what ``read(bytes done)`` gives into a file, holes left holes: cores are full of them."""
    size = written = 0
    while data := read(size):
        if data.strip(b"\0"):
            written += len(data)
            os.pwrite(target, data, size)
        size += len(data)
        if size > LARGEST:
            raise OSError(errno.EFBIG, f"unpacks to more than {LARGEST >> 30} GiB")
        if written > most:
            raise OSError(errno.ENOSPC, f"no room to unpack it in {tempfile.gettempdir()}")
        say()
    return size


def _next(read: unpack.Read, buffer: memoryview, done: int) -> bytes:
    """Read on; what is damaged after a beginning ends the core there, and its headers will tell."""
    try:
        return bytes(buffer[: read(buffer)])
    except OSError as error:
        if done and error.errno == errno.EBADMSG:
            return b""
        raise
