"""What the descriptors that threads wait on are open on, and who else has the same pipe or socket."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from diag.collectors import terminals
from diag.collectors.process import parse_status
from diag.model.io import End, OpenFile

if TYPE_CHECKING:
    from diag.host import Host

_NUMBERED = re.compile(r"(?:pipe|socket):\[(\d+)\]")
_EVENTFD = "anon_inode:[eventfd]"
MOST_WATCHED = 64
"""Descriptors of one epoll instance that are looked at."""
MOST_EVENTFDS = 20_000
"""Descriptors of eventfds on the whole host that are looked at: 0.02 ms each."""


def collect(host: Host, pid: int, fd: int) -> OpenFile | None:
    """Describe one descriptor; None when it is closed or may not be seen."""
    path = f"/proc/{pid}/fd/{fd}"
    try:
        target = host.link(path)
    except OSError:
        return None
    if numbered := _NUMBERED.fullmatch(target):
        return OpenFile(pid=pid, fd=fd, target=target, device=_device(host, path), inode=int(numbered[1]))
    if target == _EVENTFD:
        device, number = _device(host, path), _eventfd_number(host, pid, fd)
        return OpenFile(pid=pid, fd=fd, target=target, device=device, inode=number)
    if target.startswith("anon_inode:"):
        watched, refers = _anonymous(host, pid, fd)
        return OpenFile(pid=pid, fd=fd, target=target, watched=watched, refers=refers)
    return terminals.describe(host, pid, fd, target) or OpenFile(pid=pid, fd=fd, target=target)


def at_path(host: Host, pid: int, path: str) -> OpenFile | None:
    """Describe a FIFO that a process is about to open, as that process sees the path."""
    below = f"/proc/{pid}/root{path}" if path.startswith("/") else f"/proc/{pid}/cwd/{path}"
    try:
        found = host.identity(below)
    except OSError:
        return None
    if not stat.S_ISFIFO(found.mode):
        return None
    return OpenFile(pid=pid, fd=-1, target=path, device=found.device, inode=found.inode)


def fifo(host: Host, file: OpenFile) -> OpenFile:
    """Add device and inode to an open FIFO: it has a path, so ``collect`` did not touch it."""
    try:
        found = host.identity(f"/proc/{file.pid}/fd/{file.fd}")
    except OSError:
        return file
    return OpenFile(pid=file.pid, fd=file.fd, target=file.target, device=found.device, inode=found.inode)


def _device(host: Host, path: str) -> int:
    try:
        return host.status(path).device
    except OSError:
        return 0


def _anonymous(host: Host, pid: int, fd: int) -> tuple[tuple[int, ...], int | None]:
    """Read what an epoll descriptor watches, or the process a pidfd stands for (proc_pid_fdinfo(5))."""
    try:
        text = host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 20).decode("ascii", "replace")
    except OSError:
        return (), None
    return parse_watched(text), parse_pidfd(text)


def parse_watched(text: str) -> tuple[int, ...]:
    """Parse the lines ``tfd:        5 events:       19 data: …`` of an epoll descriptor."""
    lines = (line.split() for line in text.splitlines() if line.startswith("tfd:"))
    return tuple(sorted(int(words[1]) for words in lines))


def parse_pidfd(text: str) -> int | None:
    """Parse ``Pid:`` of a pidfd: a number of the reader's pid namespace; below 1: gone."""
    pid = parse_status(text).get("Pid", "")
    return int(pid) if pid.isdigit() and int(pid) > 0 else None


def ends(host: Host, files: frozenset[tuple[int, int]]) -> tuple[tuple[End, ...], tuple[int, ...]]:
    """Find every descriptor on the host on one of ``files`` (st_dev, st_ino).

    Returns them with the pids of the processes whose descriptors may not be seen.
    """
    if not files:
        return (), ()
    answer = host.openers(sorted(files))
    found = []
    for item in answer.found:
        mode = 2
        if not item.target.startswith("socket:"):
            mode = _access(host, item.pid, item.fd)
        found.append(
            End(
                pid=item.pid,
                fd=item.fd,
                device=item.device,
                inode=item.inode,
                reads=mode != 1,
                writes=mode != 0,
            )
        )
    return tuple(found), answer.denied


def eventfd_ends(host: Host, file: OpenFile) -> tuple[tuple[End, ...], tuple[int, ...]]:
    """Find every descriptor on the host on the same eventfd; else as ``ends``.

    All of them share one inode; a number in fdinfo tells them apart (since Linux 5.2).
    """
    if not file.inode:
        return (), ()
    try:
        shared = host.status(f"/proc/{file.pid}/fd/{file.fd}")
    except OSError:
        return (), ()
    answer = host.openers([(shared.device, shared.inode)])
    eventfds = [item for item in answer.found if item.target == _EVENTFD][:MOST_EVENTFDS]
    found = [item for item in eventfds if _eventfd_number(host, item.pid, item.fd) == file.inode]
    ends = tuple(End(pid=item.pid, fd=item.fd, device=file.device, inode=file.inode) for item in found)
    return ends, answer.denied


def _eventfd_number(host: Host, pid: int, fd: int) -> int:
    try:
        text = host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 16).decode("ascii", "replace")
    except OSError:
        return 0
    number = parse_status(text).get("eventfd-id", "")
    return int(number) if number.isdigit() else 0


def _access(host: Host, pid: int, fd: int) -> int:
    """Read the access mode: O_RDONLY 0, O_WRONLY 1, O_RDWR 2 (``flags`` of fdinfo is octal)."""
    try:
        text = host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 16).decode("ascii", "replace")
        return int(parse_status(text).get("flags", "2"), 8) & 3
    except (OSError, ValueError):
        return 2
