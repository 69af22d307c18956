"""Who keeps a file lock: every process that has a descriptor through which it is held."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors import descriptors, sockets
from diag.collectors.setting import number, text
from diag.investigate.lock_files import id_of
from diag.model.facts import Evidence
from diag.model.graph import Hold
from diag.waits import file_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.descriptors import Descriptor
    from diag.collectors.file_locks import FileLock
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_files import LockFiles
    from diag.model.facts import Process

_PIDS = 32768
"""Process ids there are before they are used again, where the kernel does not say (its default)."""
_STDERR = 2
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def find(inquiry: Inquiry, files: LockFiles, lock: FileLock) -> tuple[Hold, ...]:
    """Everyone who keeps a lock; first the process that took it, or else the one that began first."""
    found = _one_each(file_lock.keepers(lock, files.descriptors))
    if not found:
        return _by_pid_alone(inquiry, files, lock)
    found.sort(key=lambda item: (item.pid != lock.pid, _started(inquiry, item.pid), item.pid))
    first = inquiry.process(found[0].pid)
    gone = lock.pid >= 0 and found[0].pid != lock.pid  # 0: not in this pid namespace; -1: OFD, unknown
    taker = inquiry.process(lock.pid) if gone else None
    inherited = handed = False
    if gone and lock.kind != "posix" and first is not None:
        inherited = _passed_on(inquiry, lock, first)
        handed = not inherited and _handed_over(inquiry, first, taker)
    if taker and first and not _is_taker(inquiry, taker, first):
        taker = None  # its pid may have been used again
    listed = (Evidence(source="/proc/locks", text=lock.text),) if lock.listed else ()
    return tuple(
        Hold(
            holder=inquiry.actor(item.pid),
            resource=files.resource_of(lock),
            fd=item.fd,
            since=process.since if (process := inquiry.process(item.pid)) else None,
            taker=lock.pid or None if gone else None,
            taker_lives=taker is not None,
            inherited=inherited or handed,
            handed=handed,
            # An OFD lock that several share names no taker: the first is no more than the likeliest.
            certain=lock.pid >= 0 or len(found) == 1,
            passive=not gone and item is not found[0],
            evidence=(*listed, _fdinfo(item, lock)),
        )
        for item in found
    )


def _passed_on(inquiry: Inquiry, lock: FileLock, keeper: Process) -> bool:
    """Whether the taker had the lock first and the keeper got it from there.

    The other way round a program had a helper take it: ``exec 9>FILE; flock 9`` in a shell. Who took it
    for somebody else was started after the keeper; who passed it on to a child, before.
    """
    if lock.pid == 0:  # nothing is known of the taker; but a child that lost its parent belongs to init
        return keeper.ppid == 1 and keeper.pid != 1
    taker = inquiry.process(lock.pid)
    if taker is not None and taker.started <= keeper.started:
        return True
    # The taker is gone: only the numbers tell who came first. They are given in turn, and begin again.
    most = number(inquiry.host, "/proc/sys/kernel/pid_max") or _PIDS
    return (keeper.pid - lock.pid) % most < most // 2


def _handed_over(inquiry: Inquiry, keeper: Process, taker: Process | None) -> bool:
    """Whether a lock seems to have come to an older process in a message (SCM_RIGHTS in unix(7)).

    A helper that takes a lock for its parent, on a descriptor of the parent's, ends: the taker that lives on
    has given it away. Of one that is gone nobody can tell; but messages come through a UNIX socket.
    """
    if taker is not None and _is_taker(inquiry, taker, keeper):
        return taker.state not in "ZX"
    try:
        links = [link for link in inquiry.host.fds(keeper.pid) if link.fd > _STDERR]
    except OSError:
        return False
    inodes = {int(match[1]) for link in links if (match := _SOCKET.fullmatch(link.target))}
    return bool(inodes) and any(row.inode in inodes for row in sockets.rows(inquiry.host, keeper.pid, "unix"))


def _is_taker(inquiry: Inquiry, process: Process, keeper: Process) -> bool:
    """Whether a process with the taker's number is the taker, and no later one that was given the number."""
    if process.started <= keeper.started:
        return True
    kin = process.ppid == keeper.pid or process.ppid == keeper.ppid > 1
    return kin or _is_first(inquiry)


def _is_first(inquiry: Inquiry) -> bool:
    """Whether no pid can have been used twice: fewer processes were ever made than there are numbers."""
    for line in (text(inquiry.host, "/proc/stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == "processes":
            return int(value) < (number(inquiry.host, "/proc/sys/kernel/pid_max") or _PIDS)
    return False


def _by_pid_alone(inquiry: Inquiry, files: LockFiles, lock: FileLock) -> tuple[Hold, ...]:
    """Blame the pid of /proc/locks only as far as it goes: it names who took it, not who keeps it."""
    process = inquiry.process(lock.pid)
    if process is None:
        return ()
    mine = [item for item in files.open_on(lock) if item.pid == lock.pid]
    complete = not files.denied and any(id_of(lock) == (d.device, d.inode) for d in files.descriptors)
    if not mine and lock.pid not in files.denied and complete:
        return ()  # that process does not have the file open: the pid was used again
    return (
        Hold(
            holder=inquiry.actor(lock.pid),
            resource=files.resource_of(lock),
            since=process.since,
            certain=lock.kind == "posix",
            evidence=(Evidence(source="/proc/locks", text=lock.text),),
        ),
    )


def _started(inquiry: Inquiry, pid: int) -> int:
    process = inquiry.process(pid)
    return process.started if process else 0


def _fdinfo(item: Descriptor, lock: FileLock) -> Evidence:
    own = next(own for own in item.locks if file_lock.same(lock, own))
    name = f"{item.path}{descriptors.DELETED if item.deleted else ''}"
    return Evidence(source=f"/proc/{item.pid}/fdinfo/{item.fd}", text=f"{name}: lock: {own.text}")


def _one_each(items: Sequence[Descriptor]) -> list[Descriptor]:
    """The first descriptor of every process, in order."""
    found: dict[int, Descriptor] = {}
    for item in items:
        found.setdefault(item.pid, item)
    return list(found.values())
