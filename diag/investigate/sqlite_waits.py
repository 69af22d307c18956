"""Who waits for a SQLite database: its busy handler sleeps and tries again; the kernel lists no waiter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import pyspy, sqlite, threads
from diag.investigate import suspects
from diag.investigate.lock_files import id_of
from diag.model.facts import Evidence, Gap
from diag.model.graph import How, Wait
from diag.waits import sqlite_lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from diag.collectors.descriptors import Descriptor
    from diag.collectors.file_locks import FileLock
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph

_SLEEPS = frozenset({"nanosleep", "clock_nanosleep", "restart_syscall"})
"""The last is what a sleep looks like after a stop: py-spy's, for one."""
LOOKS = 10
"""Looks at a process with a thread that is awake: between two sleeps of 0.1 s it tries for a moment."""
PAUSE = 0.03
MOST = 200
"""Processes with a SQLite file open that are looked at."""


class _Polls(NamedTuple):
    """A thread in the busy handler, and a lock that it may wait for."""

    pid: int
    tid: int
    library: str
    blockers: tuple[FileLock, ...]


def add(inquiry: Inquiry, graph: LockGraph, only: Collection[int] | None = None) -> None:
    """Link every thread (of the processes ``only``) that polls for a lock of ``graph`` on a SQLite file."""
    known = {wait.waiter.pid for wait in graph.waits}
    found: dict[tuple[int, int], list[_Polls]] = {}
    for locks in _by_file(graph).values():
        form = graph.files.form_of(locks[0])
        opened = graph.files.open_on(locks[0])
        if form is None or not any(sqlite_lock.blockers(form, locks, -1, 1)):
            continue
        for pid in sorted({item.pid for item in opened} - known)[:MOST]:
            blockers = sqlite_lock.blockers(form, locks, pid, _connections(graph, pid, opened[0].path))
            if blockers and (only is None or pid in only):
                for tid, library in _in_busy_handler(inquiry, pid):
                    found.setdefault((pid, tid), []).append(_Polls(pid, tid, library, blockers))
                inquiry.gaps.extend(_hidden(inquiry, pid))
        graph.stamps[id_of(locks[0])] = _stamp(inquiry, opened)
    graph.waits.extend(_wait(inquiry, graph, polls) for polls in found.values())


def adopt(inquiry: Inquiry, graph: LockGraph, pid: int) -> None:
    """Take the SQLite files into the graph that a process has open and others have locked."""
    inodes = {lock.inode for lock in graph.elsewhere if sqlite_lock.may_be(lock)}
    if not inodes:
        return
    try:
        links = inquiry.host.fds(pid)
    except OSError:
        return
    for link in links:
        if link.inode in inodes:
            graph.adopt(f"/proc/{pid}/fd/{link.fd}")


def again(inquiry: Inquiry, graph: LockGraph, waits: Iterable[Wait]) -> Iterator[Wait]:
    """Yield those of the ``waits`` whose threads still poll, if nobody has committed anything meanwhile."""
    for wait in waits:
        file = (wait.resource.device or 0, wait.resource.inode or 0)
        opened = [item for item in graph.descriptors if (item.device, item.inode) == file]
        moved = file in graph.stamps and _stamp(inquiry, opened) != graph.stamps[file]
        tids = [tid for tid, _ in _in_busy_handler(inquiry, wait.waiter.pid)]
        if not moved and wait.waiter.tid in tids:
            yield wait


def _by_file(graph: LockGraph) -> dict[tuple[int, int], list[FileLock]]:
    found: dict[tuple[int, int], list[FileLock]] = {}
    for lock in graph.table:
        if lock.depth == 0 and sqlite_lock.may_be(lock):
            found.setdefault(id_of(lock), []).append(lock)
    held = {id_of(lock) for lock in graph.held()}
    return {file: locks for file, locks in found.items() if file in held}


def _in_busy_handler(inquiry: Inquiry, pid: int) -> list[tuple[int, str]]:
    """The threads of a process that SQLite has put to sleep, with the library it is in."""
    for turn in range(LOOKS):
        if turn:
            inquiry.host.sleep(PAUSE)
        calls = list(threads.syscalls(inquiry.host, pid))
        asleep = [tid for tid, call in calls if call and call.name in _SLEEPS]
        found = [(tid, library) for tid in asleep if (library := sqlite.busy_handler(inquiry.host, pid, tid))]
        elsewhere = all(call for _, call in calls) and (not asleep or turn > 0)
        if found or elsewhere:
            return found
    return []


def _hidden(inquiry: Inquiry, pid: int) -> Iterator[Gap]:
    process = inquiry.process(pid)
    if process and pyspy.is_denied(inquiry.host, process):
        gap = pyspy.denied_gap(inquiry.host, process)
        yield replace(
            gap, hides=f"whether pid {pid} waits for a SQLite database", blinds=suspects.POLLER_RULES
        )


def _connections(graph: LockGraph, pid: int, path: str) -> int:
    """How often a process has a database open; all of its connections share one WAL index."""
    database = path.removesuffix("-shm")
    return sum((item.pid, item.path) == (pid, database) for item in graph.descriptors)


def _stamp(inquiry: Inquiry, opened: Iterable[Descriptor]) -> bytes:
    return next((sqlite.stamp(inquiry.host, f"/proc/{item.pid}/fd/{item.fd}") for item in opened), b"")


def _wait(inquiry: Inquiry, graph: LockGraph, polls: list[_Polls]) -> Wait:
    pid, tid, library, blockers = polls[0]
    resource = graph.resource_of(blockers[0])
    text = f"thread {tid} sleeps, called from {library}, and has {resource.path} open"
    return Wait(
        waiter=inquiry.actor(pid, tid),
        resource=resource,
        how=How.POLLING,
        words=f"polls for the database {resource.path}, which is busy: {resource.name}",
        holds=tuple(hold for lock in blockers for hold in graph.holds(lock)),
        certain=len(polls) == 1,
        evidence=(Evidence(source=f"/proc/{pid}/task/{tid}/syscall and /proc/{pid}/mem", text=text),),
    )
