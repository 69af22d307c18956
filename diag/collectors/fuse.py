"""Who serves a FUSE file system: processes with /dev/fuse open (Documentation/filesystems/fuse.rst)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import mounts
from diag.collectors import process as processes
from diag.collectors.file_locks import split_device

if TYPE_CHECKING:
    from diag.host import Host

DEVICE = "/dev/fuse"
SLEEPS_IN = "request_wait_answer"
"""Where a thread waits for a server's answer in the kernel (fs/fuse/dev.c). Its state may be S, yet no
tracer and no SIGSTOP stops it there (measured on 6.18).
"""
_MINOR_BITS = 20  # of the kernel's own dev_t, include/linux/kdev_t.h


class Servers(NamedTuple):
    """The processes that may answer for a file system."""

    pids: tuple[int, ...]
    connected: bool  # False: they merely have some FUSE connection, and see the mount


def connection(device: int) -> int:
    """Return the number that the kernel gives the connection of the file system with this st_dev."""
    major, minor = (int(part, 16) for part in split_device(device).split(":"))
    return major << _MINOR_BITS | minor


def parse_connection(text: str) -> int | None:
    """Parse ``fuse_connection: 39`` of fdinfo (new in 6.17); None on older kernels, and before the mount."""
    number = processes.parse_status(text).get("fuse_connection", "")
    return int(number) if number.isascii() and number.isdigit() else None


def servers(host: Host, device: int) -> Servers:
    """Find the processes that have the connection of the file system ``device`` open.

    Older kernels do not say which connection a descriptor is: then all who have one and see the mount.
    """
    exact: list[int] = []
    some: list[int] = []
    for pid in processes.pids(host):
        try:
            fds = [item.fd for item in host.fds(pid) if item.target == DEVICE]
        except OSError:
            continue  # gone, or its descriptors may not be seen
        numbers = [parse_connection(_fdinfo(host, pid, fd)) for fd in fds]
        if connection(device) in numbers:
            exact.append(pid)
        elif None in numbers and any(mount.device == device for mount in mounts.collect(host, pid)):
            some.append(pid)
    return Servers(tuple(exact or some), bool(exact))


def waiting(host: Host, device: int) -> int | None:
    """How many requests have no answer, where the reader sees the control file system (fusectl)."""
    try:
        text = host.read(f"/sys/fs/fuse/connections/{connection(device)}/waiting", 64)
        return int(text)
    except (OSError, ValueError):
        return None


def _fdinfo(host: Host, pid: int, fd: int) -> str:
    try:
        return host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 16).decode("ascii", "replace")
    except OSError:
        return ""
