"""Descriptors that are open on files somebody asked for, with the locks held through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.file_locks import FileLock, parse_fdinfo
from diag.model.facts import Fact, Gap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.host import Host, OpenFd

DELETED = " (deleted)"
MOST_KEPT = 20_000
"""Descriptors whose fdinfo is read where /proc/locks does not list all locks."""


class Descriptor(Fact, frozen=True, kw_only=True):
    """One open descriptor, as /proc/PID/fd and /proc/PID/fdinfo show it."""

    pid: int
    fd: int
    path: str  # in the mount namespace of the process
    deleted: bool
    device: int  # as stat(2) has it
    inode: int
    locks: tuple[FileLock, ...] = ()  # requests that still wait never appear here


def collect(host: Host, files: Iterable[tuple[int, int]]) -> tuple[tuple[Descriptor, ...], tuple[int, ...]]:
    """Find every descriptor open on ``files`` (st_dev, st_ino).

    Returns them with the pids of the processes whose descriptors may not be seen.
    """
    wanted = sorted(set(files))
    if not wanted:
        return (), ()
    answer = host.openers(wanted)
    return tuple(_describe(host, item) for item in answer.found), answer.denied


def kept(host: Host, pids: Iterable[int]) -> tuple[frozenset[tuple[int, int]], tuple[int, ...]]:
    """Find the files that the processes ``pids`` have locks on by the fdinfo of all they have open.

    In a pid namespace /proc/locks leaves out locks whose taker is gone or outside.
    Returns the files (st_dev, st_ino), and the processes that may not be seen.
    """
    found: set[tuple[int, int]] = set()
    denied: list[int] = []
    left = MOST_KEPT
    for pid in pids:
        try:
            links = [link for link in host.fds(pid) if link.device and link.target.startswith("/")]
        except PermissionError:
            denied.append(pid)
            continue
        except OSError:
            continue
        for link in links[:left]:
            try:
                text = host.read(f"/proc/{pid}/fdinfo/{link.fd}", 1 << 16)
            except OSError:
                continue
            if b"\nlock:" in text:
                found.add((link.device, link.inode))
        left -= len(links)
        if left <= 0:
            break
    return frozenset(found), tuple(denied)


def _describe(host: Host, item: OpenFd) -> Descriptor:
    text = _fdinfo(host, item)
    deleted = _is_deleted(host, item)
    return Descriptor(
        pid=item.pid,
        fd=item.fd,
        path=item.target.removesuffix(DELETED) if deleted else item.target,
        deleted=deleted,
        device=item.device,
        inode=item.inode,
        locks=parse_fdinfo(text),
    )


def _fdinfo(host: Host, item: OpenFd) -> str:
    """Read about one descriptor; "" when it was closed since."""
    where = f"/proc/{item.pid}"
    try:
        return host.read(f"{where}/fdinfo/{item.fd}", 1 << 16).decode("ascii", "replace")
    except PermissionError:
        return ""
    except OSError:
        pass
    try:  # the first thread has ended and has no descriptors any more: the others have
        tid = host.names(f"{where}/task")[-1]
        return host.read(f"{where}/task/{tid}/fdinfo/{item.fd}", 1 << 16).decode("ascii", "replace")
    except (OSError, IndexError):
        return ""


def _is_deleted(host: Host, item: OpenFd) -> bool:
    """Whether the file has lost its name; one may also be called "x (deleted)"."""
    if not item.target.endswith(DELETED):
        return False
    try:
        named = host.identity(f"/proc/{item.pid}/root{item.target}")
    except OSError:
        return True
    return (named.device, named.inode) != (item.device, item.inode)


def denied_gap(host: Host, pids: tuple[int, ...], blinds: frozenset[str]) -> Gap:
    """Say whose descriptors stayed hidden."""
    some = ", ".join(map(str, pids[:5])) + (" …" if len(pids) > 5 else "")
    hint = "run diag as root" if host.info.uid else "run diag outside the container, with CAP_SYS_PTRACE"
    return Gap(
        source="/proc/PID/fd",
        hides=f"open files of {len(pids)} processes ({some})",
        reason="permission denied",
        hint=hint,
        blinds=blinds,
    )
