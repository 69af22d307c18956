"""Who may poll for a lock in code that cannot be read: C, Perl, a shell.

Its tries take microseconds and leave no trace in /proc; but it has the locked file open without a lock
on it, and wakes up again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate import lock_calls
from diag.investigate.lasting import Lasting
from diag.investigate.lock_files import id_of, ids_of
from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from diag.collectors.descriptors import Descriptor
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph

    Restless = Callable[[Inquiry, Iterable[int]], tuple[int, ...]]

_GENERATIONS = 16
"""Ancestors of a process that are looked at."""


def gaps(
    inquiry: Inquiry,
    graph: LockGraph,
    restless: Restless,
    blinds: frozenset[str],
) -> Iterator[Gap]:
    """Name those who have a locked file open and may poll unseen; ``restless``: who never sleeps long."""
    waiting = {wait.waiter.pid for wait in graph.waits}
    opened = {
        pid: item
        for pid, mine in sorted(_openers(graph).items())
        if pid not in waiting and (item := _opened(inquiry, graph, mine))
    }
    first = [pid for pid in opened if not opened.keys() & set(_ancestors(inquiry, pid))]
    lasting = Lasting(inquiry, graph)
    found = [
        pid
        for pid in restless(inquiry, [pid for pid in first if _is_unread(inquiry, pid)])
        if lasting.is_kept(opened[pid].path, ids_of(opened[pid]))
    ]
    if not found:
        return
    pid, item = found[0], opened[found[0]]
    process = inquiry.process(pid)
    name = process.name if process else "?"
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    yield Gap(
        source=f"/proc/{item.pid}/fd/{item.fd}",
        hides=f"whether pid {pid} ({name}){others} polls for the lock on {item.path}",
        reason="it has the file open without a lock and wakes up again and again, and the stacks of its "
        "threads do not say why",
        hint=f"strace -f -tt -e trace=flock,fcntl -p {pid} shows its tries (it stops the process at each)",
        blinds=blinds,
    )


def adopt(inquiry: Inquiry, graph: LockGraph, pids: Collection[int], restless: Restless) -> None:
    """Take the locks of others on files that restless processes have open into a graph that has not all."""
    held = {id_of(lock) for lock in graph.elsewhere if lock.depth == 0 and lock.pid not in pids}
    if not held:
        return
    for pid in restless(inquiry, [pid for pid in pids if _is_unread(inquiry, pid)]):
        for path in inquiry.opened(pid, held):
            graph.adopt(f"/proc/{pid}/root{path}")


def _is_unread(inquiry: Inquiry, pid: int) -> bool:
    """Whether its code is not on the stacks of its threads: no Python, or the tasks of an event loop."""
    frames = [frame for stack in inquiry.stacks(pid) for frame in stack.frames]
    return not frames or (any("/asyncio/" in frame.file for frame in frames) and not inquiry.tells_tasks(pid))


def _openers(graph: LockGraph) -> dict[int, list[Descriptor]]:
    """Who has a file of a lock that matters open: the descriptors of each process."""
    places = {(lock.device, lock.inode) for lock in graph.held()}
    found: dict[int, list[Descriptor]] = {}
    for item in graph.descriptors:
        if not places.isdisjoint(ids_of(item)):
            found.setdefault(item.pid, []).append(item)
    return found


def _opened(inquiry: Inquiry, graph: LockGraph, mine: list[Descriptor]) -> Descriptor | None:
    """A file with somebody else's lock on it that a process has open, neither locked nor inherited so."""
    for lock in graph.held():
        holders = {hold.holder.pid: hold.fd for hold in graph.holds(lock)}
        place = (lock.device, lock.inode)
        if any(item.locks for item in mine if place in ids_of(item)):
            continue
        for item in mine:
            if (
                place in ids_of(item)
                and holders
                and not _is_inherited(inquiry, item, holders)
                and lock_calls.may_lock(inquiry, item.pid, item.fd, {lock.kind})
            ):
                return item
    return None


def _is_inherited(inquiry: Inquiry, item: Descriptor, holders: dict[int, int | None]) -> bool:
    """Whether a descriptor is merely its parent's, as workers have their master's pid file open."""
    return any(item.fd == holders.get(pid) for pid in _ancestors(inquiry, item.pid))


def _ancestors(inquiry: Inquiry, pid: int) -> Iterator[int]:
    for _ in range(_GENERATIONS):
        process = inquiry.process(pid)
        if process is None or process.ppid <= 1:
            return
        pid = process.ppid
        yield pid
