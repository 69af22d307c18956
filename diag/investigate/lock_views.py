"""What a lock graph comes to: each lock with its holders, waiters and openers, and what stayed hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import descriptors, setting
from diag.model.facts import Gap
from diag.model.graph import How
from diag.model.snapshot import AskedFile, Lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.collectors.descriptors import Descriptor
    from diag.collectors.file_locks import FileLock
    from diag.investigate.lock_graph import LockGraph
    from diag.investigate.targets import Target

UNLISTED = "has locks of its own"
"""What a look at all locks leaves out, without harm: whoever waits for them in this namespace is seen, and
so is that somebody outside waits for one of ours."""


def locks(graph: LockGraph) -> tuple[Lock, ...]:
    """Every lock that matters, with its holders, waiters and mere openers."""
    return (*(_lock(graph, lock) for lock in graph.held()), *_others(graph))


def asked(graph: LockGraph, target: Target) -> AskedFile:
    """An asked path, with the processes that have it open."""
    pids = graph.files.openers(target)
    return AskedFile(path=target.path, form=target.form, open_by=tuple(map(graph.inquiry.actor, pids)))


def _lock(graph: LockGraph, lock: FileLock) -> Lock:
    resource = graph.resource_of(lock)
    holders = graph.holds(lock)
    waiters = tuple(
        wait
        for wait in graph.waits
        if wait.resource.key == resource.key or any(hold.resource.key == resource.key for hold in wait.holds)
    )
    busy = {hold.holder.pid for hold in holders} | {wait.waiter.pid for wait in waiters}
    mine = graph.files.open_on(lock)
    deleted = bool(mine) and all(item.deleted for item in mine)
    return Lock(
        resource=resource,
        holders=holders,
        waiters=waiters,
        open_by=tuple(graph.inquiry.actor(pid) for pid in sorted({item.pid for item in mine} - busy)),
        deleted=deleted,
        replaced_by=_replaced_by(graph, mine) if deleted else None,
        asked=graph.files.is_asked(lock),
    )


def _replaced_by(graph: LockGraph, mine: Sequence[Descriptor]) -> int | None:
    """The inode that the path of a deleted lock file names now, as its holder sees that path."""
    try:
        return graph.inquiry.host.identity(f"/proc/{mine[0].pid}/root{mine[0].path}").inode
    except OSError:
        return None


def _others(graph: LockGraph) -> tuple[Lock, ...]:
    """Locks by existence, and locks known only because somebody waits: their holder is out of sight."""
    known = {graph.resource_of(lock).key for lock in graph.held()}
    found = {
        holds[0].resource.key: Lock(resource=holds[0].resource, holders=holds)
        for holds in graph.soft.values()
        if holds
    }
    for wait in graph.waits:
        resource = wait.resource
        if resource.key in known or any(hold.resource.key in known for hold in wait.holds):
            continue
        earlier = found.get(resource.key) or Lock(resource=resource)
        found[resource.key] = Lock(
            resource=resource, holders=earlier.holders, waiters=(*earlier.waiters, wait)
        )
    return tuple(found.values())


def _without_lock(graph: LockGraph) -> list[Target]:
    """The asked files on which no lock and no waiter can be seen."""
    seen = {(lock.device, lock.inode) for lock in graph.table}
    files = [target for target in graph.targets if target.form == "file"]
    return [target for target in files if (target.lock_device, target.lock_inode) not in seen]


def _invisible(graph: LockGraph) -> list[int]:
    """The processes that the lines of the asked locks name and that /proc does not show to everybody."""
    pids = {lock.pid for lock in graph.table if lock.pid > 0 and graph.files.is_asked(lock)}
    gone = sorted(pid for pid in pids if graph.inquiry.process(pid) is None)
    if not gone:
        return []
    mounts = setting.text(graph.inquiry.host, "/proc/self/mountinfo") or ""
    return gone if setting.parse_proc_options(mounts).get("hidepid", "0") not in ("0", "off") else []


def outside(graph: LockGraph, what: str, blinds: frozenset[str]) -> Iterable[Gap]:
    """Say that others may have locks, if we are in a pid namespace of our own."""
    if setting.collect(graph.inquiry.host).initial_pid_namespace is False:
        yield Gap(
            source="/proc/locks",
            hides=f"whether a process outside of this pid namespace {what}",
            reason="the kernel lists only locks whose holder this pid namespace can see",
            hint="run diag on the host, outside the container",
            blinds=blinds,
        )


def gaps(graph: LockGraph, blinds: frozenset[str]) -> Iterable[Gap]:
    """Say what stayed hidden, but only where it could matter."""
    ownerless = any(graph.files.is_asked(lock) and not graph.holds(lock) for lock in graph.held())
    unexplained = [wait for wait in graph.waits if wait.stuck and not wait.holds]
    if quiet := _without_lock(graph):
        yield from outside(graph, f"has a lock on {quiet[0].path}", blinds)
    if hidden := _invisible(graph):
        yield Gap(
            source="/proc/PID",
            hides=f"what has the locks or waits for them: pid {', '.join(map(str, hidden[:5]))}",
            reason="/proc/locks names these processes, but /proc (mounted with hidepid) does not show them",
            hint="run diag as root, or in the group that the option gid= of /proc names",
            blinds=blinds,
        )
    if graph.files.denied and (ownerless or unexplained or graph.waits):
        yield descriptors.denied_gap(graph.inquiry.host, graph.files.denied, blinds)
    elif any(wait.how is How.BLOCKED for wait in unexplained):
        yield _unseen_holder(graph, blinds)
    elif unexplained:
        yield Gap(
            source="/proc/locks and /proc/PID/fd",
            hides=f"who holds {unexplained[0].resource.path}, which others poll for",
            reason="no process that can be seen from here holds a lock on it or has it open",
            hint="look on the other hosts and in the other containers that share this file",
            blinds=blinds,
        )
    if graph.unnamed:
        yield Gap(
            source="/proc/PID/task/TID/syscall",
            hides=f"who waits for locks ({graph.unnamed}): /proc/locks does not name them",
            reason="those processes may not be looked into, or are in another pid namespace",
            hint="run diag as root"
            if graph.inquiry.host.info.uid
            else "run diag on the host, outside the container",
            blinds=blinds,
        )


def _unseen_holder(graph: LockGraph, blinds: frozenset[str]) -> Gap:
    """Say that a lock is held out of sight: outside of our pid namespace, or by no process at all."""
    if setting.collect(graph.inquiry.host).initial_pid_namespace is False:
        reason = "the kernel lists no holder that this pid namespace can see"
        hint = "run diag on the host, outside the container"
    else:
        reason = (
            "no process has a descriptor of it: it may be in a message between processes (SCM_RIGHTS), in a "
            "table of io_uring, behind a memory mapping, or with the kernel's NFS server"
        )
        hint = "/proc/locks names the process that took it: see whom that one sends descriptors to (ss -xp)"
    return Gap(
        source="/proc/locks",
        hides="who holds the lock that is waited for",
        reason=reason,
        hint=hint,
        blinds=blinds,
    )
