"""Pseudo-terminals: which one a descriptor stands for, and who has its other side (pty(7))."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors.process import parse_status
from diag.model.io import End, OpenFile

if TYPE_CHECKING:
    from diag.host import Host

_SLAVE = re.compile(r"/dev/pts/(\d+)")
MASTERS = ("/dev/ptmx", "/dev/pts/ptmx")
MOST_MASTERS = 5000
"""Descriptors of masters on the whole host that are looked at: 0.02 ms each."""


def describe(host: Host, pid: int, fd: int, target: str) -> OpenFile | None:
    """Describe a descriptor of either side by its terminal's number; None for any other file.

    ``inode`` is the number of a slave, from 1 on, and below 0 that of a master.
    """
    if slave := _SLAVE.fullmatch(target):
        return OpenFile(pid=pid, fd=fd, target=target, device=_device(host, pid, fd), inode=int(slave[1]) + 1)
    number = _number(host, pid, fd) if target in MASTERS else None
    if number is None:
        return None
    return OpenFile(pid=pid, fd=fd, target=target, device=_device(host, pid, fd), inode=-number - 1)


def other_side(host: Host, file: OpenFile) -> tuple[tuple[End, ...], tuple[int, ...]]:
    """Find every descriptor on the host on the other side of a terminal.

    Returns them with the pids of the processes whose descriptors may not be seen. The masters of all
    terminals share one inode; ``tty-index`` in fdinfo tells them apart (since Linux 4.15).
    """
    number = abs(file.inode) - 1
    if file.inode < 0:
        answer = host.openers(_identities(host, file.pid, (f"/dev/pts/{number}",)))
        found = list(answer.found)
    else:
        answer = host.openers(_identities(host, file.pid, MASTERS))
        found = [one for one in answer.found[:MOST_MASTERS] if _number(host, one.pid, one.fd) == number]
    ends = (End(pid=one.pid, fd=one.fd, device=file.device, inode=file.inode) for one in found)
    return tuple(ends), answer.denied


def parse_number(text: str) -> int | None:
    """Find ``tty-index`` in the fdinfo of a master; None in any other."""
    number = parse_status(text).get("tty-index", "")
    return int(number) if number.isdigit() else None


def _number(host: Host, pid: int, fd: int) -> int | None:
    try:
        return parse_number(host.read(f"/proc/{pid}/fdinfo/{fd}", 1 << 16).decode("ascii", "replace"))
    except OSError:
        return None


def _device(host: Host, pid: int, fd: int) -> int:
    try:
        return host.status(f"/proc/{pid}/fd/{fd}").device
    except OSError:
        return 0


def _identities(host: Host, pid: int, paths: tuple[str, ...]) -> list[tuple[int, int]]:
    """Device and inode of each path, as the process sees it."""
    found = []
    for path in paths:
        try:
            about = host.status(f"/proc/{pid}/root{path}")
        except OSError:
            continue
        found.append((about.device, about.inode))
    return found
