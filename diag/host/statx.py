"""stat(2) that asks no file server: statx(2) with AT_STATX_DONT_SYNC answers from what the kernel remembers.

An ordinary stat of a file on FUSE or NFS sends a request; without an answer not even SIGKILL ends the wait.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from diag.host.names import to_path

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_FDCWD = -100
_NO_FOLLOW, _EMPTY_PATH, _DONT_SYNC = 0x100, 0x1000, 0x4000  # include/uapi/linux/fcntl.h
_BASIC_STATS = 0x7FF


class Status(NamedTuple):
    """What stat(2) gives; times are seconds since the epoch."""

    st_dev: int
    st_ino: int
    st_mode: int
    st_size: int
    st_nlink: int
    st_uid: int
    st_mtime: float
    st_ctime: float


def status(path: str, *, follow: bool = True) -> Status:
    """Look at a path. Walking to it may still ask a server: not so for the links of /proc/PID/fd."""
    return _statx(_AT_FDCWD, os.fsencode(to_path(path)), 0 if follow else _NO_FOLLOW)


def of_descriptor(fd: int) -> Status:
    """Look at an open descriptor, also one of O_PATH."""
    return _statx(fd, b"", _EMPTY_PATH)


@cache
def _function() -> Callable[..., int] | None:
    """Find the C library's function; None where there is none (glibc before 2.28)."""
    return getattr(ctypes.CDLL(None, use_errno=True), "statx", None)


def _statx(base: int, path: bytes, flags: int) -> Status:
    buffer = ctypes.create_string_buffer(256)
    function = _function()
    if function is None:
        return _stat(base, path, flags)
    if function(base, path, flags | _DONT_SYNC, _BASIC_STATS, buffer) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(path))
    # struct statx, include/uapi/linux/stat.h.
    links, uid, _, mode = struct.unpack_from("=IIIH", buffer, 16)
    inode, size = struct.unpack_from("=QQ", buffer, 32)
    changed, changed_ns, _, modified, modified_ns = struct.unpack_from("=qIIqI", buffer, 96)
    major, minor = struct.unpack_from("=II", buffer, 136)
    return Status(
        os.makedev(major, minor),
        inode,
        mode,
        size,
        links,
        uid,
        modified + modified_ns / 1e9,
        changed + changed_ns / 1e9,
    )


def _stat(base: int, path: bytes, flags: int) -> Status:
    found = os.stat(path, follow_symlinks=not flags & _NO_FOLLOW) if path else os.fstat(base)
    return Status(
        found.st_dev, found.st_ino, found.st_mode, found.st_size,
        found.st_nlink, found.st_uid, found.st_mtime, found.st_ctime,
    )  # fmt: skip
