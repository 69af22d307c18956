"""Files and descriptors, looked at without a time limit: the host sets one."""

from __future__ import annotations

import os

from diag.host import statx
from diag.host.base import READ_LIMIT
from diag.host.names import to_path, to_text
from diag.host.records import FdLink, FileId

CHUNK = 1 << 16
"""Bytes asked for in one read(2): the kernel gives a page of such files at a time, and a buffer that the
allocator has to get from the system each time costs more than the read (measured).
"""


def read_all(path: str, limit: int) -> bytes:
    """Read a whole file, at most ``limit`` bytes; not bounded in time."""
    # O_NONBLOCK: a path can turn out to be a FIFO, whose open would wait for a writer.
    handle = os.open(to_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        # In large reads: what /proc makes up is consistent only within a read(2), of a page at most.
        pieces = []
        left = limit
        while left > 0 and (piece := os.read(handle, min(left, CHUNK))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def text(path: str) -> str:
    """Read a small file of the kernel's; "" where it can not be read."""
    try:
        return read_all(path, READ_LIMIT).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def field(text: str, name: str) -> str | None:
    """Find what stands behind ``name:`` in a file of such lines."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def identity(path: str) -> FileId:
    """Name a file as stat(2) and as the lock tables do."""
    handle = os.open(to_path(path), os.O_PATH | os.O_CLOEXEC)
    try:
        about = statx.of_descriptor(handle)
        name = os.readlink(f"/proc/self/fd/{handle}")
        fdinfo = text(f"/proc/self/fdinfo/{handle}")
        mounts = text("/proc/self/mountinfo")
    finally:
        os.close(handle)
    # "ino:" is in fdinfo since 5.14; before that st_ino is the best there is.
    return FileId(
        device=about.st_dev,
        inode=about.st_ino,
        lock_device=_mount_device(mounts, field(fdinfo, "mnt_id")) or about.st_dev,
        lock_inode=int(field(fdinfo, "ino") or about.st_ino),
        mode=about.st_mode,
        path=to_text(name),
    )


def _mount_device(mounts: str, mount: str | None) -> int | None:
    """Find the superblock's device of a mount: field 3 of its line in mountinfo."""
    for line in mounts.splitlines():
        words = line.split()
        if words[:1] == [mount]:
            major, minor = words[2].split(":")
            return os.makedev(int(major), int(minor))
    return None


def descriptors(pid: int) -> tuple[FdLink, ...]:
    """Every open descriptor of a process, in order of number."""
    directory = f"/proc/{pid}/fd"
    found = []
    for name in sorted(os.listdir(directory), key=int):
        path = f"{directory}/{name}"
        try:
            target = os.readlink(path)
            on_disk = target.startswith("/") and not target.startswith(("/dev/", "/proc/"))
            about = statx.status(path) if on_disk else None
        except (FileNotFoundError, ProcessLookupError):
            continue  # closed while we looked
        device, inode = (about.st_dev, about.st_ino) if about else (0, 0)
        found.append(FdLink(int(name), to_text(target), device, inode))
    return tuple(found)
