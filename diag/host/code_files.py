"""Finds files of code by their base names: in the mappings of living processes, and below directories.

Only the answer leaves the host: a recording holds neither the mappings of all processes nor the names of
all files.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING

from diag.host.names import to_path, to_text
from diag.host.records import MappedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PATIENCE = 1.5
"""Seconds a search may take; measured: 200,000 names a second below a warm /usr."""
MOST = 200
_LOCAL = frozenset(
    {"btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "overlay", "squashfs", "tmpfs", "vfat", "xfs", "zfs"}
)
_DELETED = b" (deleted)"


def mapped(names: Sequence[str]) -> tuple[MappedFile, ...]:
    """Executable mappings of files with these base names, in every process that may be read.

    Of processes of one name that map the same file, one stands for all.
    """
    wanted = {to_path(name).encode("utf-8", "surrogateescape") for name in names}
    found: dict[tuple[str, str, int, int], MappedFile] = {}
    deadline = time.monotonic() + PATIENCE
    for entry in sorted((name for name in os.listdir("/proc") if name.isdigit()), key=int):
        try:
            with open(f"/proc/{entry}/maps", "rb") as maps:
                text = maps.read()
            with open(f"/proc/{entry}/comm", "rb") as comm:
                name = comm.read().rstrip(b"\n")
        except OSError:
            continue  # gone, or another user's
        for one in _mappings(int(entry), name, text, wanted):
            found.setdefault((one.process, one.path, one.device, one.inode), one)
        if len(found) >= MOST or time.monotonic() > deadline:
            break
    return tuple(found.values())[:MOST]


def _mappings(pid: int, comm: bytes, text: bytes, wanted: set[bytes]) -> Iterator[MappedFile]:
    for line in text.splitlines():
        words = line.split(None, 5)
        if len(words) < 6 or b"x" not in words[1] or not words[5].startswith(b"/"):
            continue
        path = words[5].removesuffix(_DELETED)
        if path.rpartition(b"/")[2] not in wanted:
            continue
        major, minor = (int(part, 16) for part in words[3].split(b":"))
        start, end = words[0].split(b"-")
        yield MappedFile(
            pid=pid,
            process=_text(comm),
            path=_text(path),
            start=int(start, 16),
            end=int(end, 16),
            offset=int(words[2], 16),
            device=os.makedev(major, minor),
            inode=int(words[4]),
            deleted=words[5].endswith(_DELETED),
        )


def below(directories: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Regular files with these base names below ``directories``.

    No links are followed: the kernel names the file itself, and below another system's root they would
    lead out of it. What lies on another machine or behind a
    process (NFS, FUSE) is left out, for it may not answer. The search ends at its time limit.
    """
    wanted = {to_path(name) for name in names}
    remote = _remote_mounts()
    deadline = time.monotonic() + PATIENCE
    found: list[str] = []
    waiting = deque(to_path(directory) for directory in directories)  # the shallow ones first
    while waiting and len(found) < MOST and time.monotonic() < deadline:
        try:
            with os.scandir(waiting.popleft()) as entries:
                for entry in entries:
                    if entry.name in wanted and entry.is_file(follow_symlinks=False):
                        found.append(to_text(entry.path))
                    elif entry.is_dir(follow_symlinks=False) and entry.path not in remote:
                        waiting.append(entry.path)
        except OSError:
            continue
    return tuple(sorted(set(found)))


def _remote_mounts() -> frozenset[str]:
    """Mount points that are not of a local file system, proc(5) on mountinfo."""
    found = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            words = line.split()
            kind = words[words.index("-", 6) + 1] if "-" in words[6:] else ""
            if kind not in _LOCAL:
                found.add(words[4].encode("utf-8", "surrogateescape").decode("unicode_escape"))
    return frozenset(found)


def _text(name: bytes) -> str:
    return to_text(name.decode("utf-8", "surrogateescape"))
