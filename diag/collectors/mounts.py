"""Mounts as a process sees them, from /proc/PID/mountinfo (proc_pid_mountinfo(5)). No mount is touched."""

from __future__ import annotations

import os.path
import re
from typing import TYPE_CHECKING

from diag.collectors.file_locks import make_device
from diag.collectors.process import parse_status
from diag.host.names import to_text
from diag.model.mounts import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host import Host

LIMIT = 4 << 20
"""Bytes of mountinfo that are read: hosts with many containers have thousands of mounts."""
_OCTAL = re.compile(rb"\\([0-7]{3})")


def parse_mountinfo(data: bytes) -> Iterator[Mount]:
    """Parse all lines; what is no line of mountinfo is left out."""
    for line in data.splitlines():
        words = line.split(b" ")
        try:
            dash = words.index(b"-", 6)
            major, minor = words[2].split(b":")
            yield Mount(
                id=int(words[0]),
                device=make_device(int(major), int(minor)),
                point=_plain(words[4]),
                type=_plain(words[dash + 1]),
                source=_plain(words[dash + 2]),
                options=_plain(words[dash + 3]),
            )
        except (ValueError, IndexError, OverflowError):
            continue


def _plain(word: bytes) -> str:
    """Undo the escapes of blanks and backslashes: a backslash and three octal digits."""
    raw = _OCTAL.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), word)
    return to_text(raw.decode("utf-8", "surrogateescape"))


def collect(host: Host, pid: int) -> tuple[Mount, ...]:
    """List the mounts in a process's namespace, oldest first; none when they may not be seen."""
    try:
        return tuple(parse_mountinfo(host.read(f"/proc/{pid}/mountinfo", LIMIT)))
    except OSError:
        return ()


def of_descriptor(host: Host, pid: int, fd: int, mounts: Sequence[Mount]) -> Mount | None:
    """Find the mount that a descriptor was opened through: ``mnt_id`` of its fdinfo."""
    try:
        number = parse_status(host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 16).decode("ascii", "replace")).get(
            "mnt_id"
        )
    except OSError:
        return None
    return next((mount for mount in mounts if str(mount.id) == number), None)


def of_path(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """Find the mount an absolute path leads to, by its words alone: symbolic links are not followed."""
    path = os.path.normpath(path)
    below = [mount for mount in mounts if mount.point == "/" or f"{path}/".startswith(f"{mount.point}/")]
    # Of mounts on one point the newest covers the others.
    return max(reversed(below), key=lambda mount: len(mount.point), default=None)
