"""Tells a stuck wait from a brief one: looks again, some time later."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import file_locks
from diag.investigate import pollers, sqlite_waits, task_polls
from diag.investigate.turns import Turns
from diag.model.graph import How
from diag.waits import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.collectors.file_locks import FileLock
    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Thread
    from diag.model.graph import Hold, Wait

    Sample = Mapping[int, tuple[Thread, ...]]
    Line = tuple[object, ...]

STEPS = (0.17, 0.05, 0.11, 0.07, 0.13, 0.05, 0.19, 0.11, 0.12)
"""Seconds between reads of /proc/locks; in all they are how long a wait must last to be no brief one.

They are uneven: even ones could keep time with a program that takes and frees a lock in turn.
"""


SAMPLED = (0, 4)
"""The steps after which the threads are looked at, to be compared with how they are in the end."""


FEW = 8
"""Context switches meanwhile that are no progress of one who asks for a lock: each stop by a tracer or a
signal makes two; who takes and frees a lock in turn makes more, or the lock changes hands."""


TRIES = 4
"""Reads of /proc/locks at one look, at most, until all that stood before is there.

The kernel gives at most a page in one read(2) (fs/seq_file.c), and of a longer table misses a line where
others end between two pages: 4 reads of 100 did, with 240 locks of which 40 came and went (measured).
"""


class Look(NamedTuple):
    """What one read of /proc/locks comes to."""

    lines: frozenset[Line]
    ringed: frozenset[int]  # processes that wait, in a ring, for each other


def confirm(inquiry: Inquiry, graph: LockGraph, along: Iterable[int]) -> tuple[Sample, Sample]:
    """Mark as stuck each wait that lasts without progress, and leave it only the holds that last too.

    A blocked thread makes progress when it leaves its system call or is switched to. A poller is switched
    to all the time: for it counts that it still polls and that nobody else got the lock meanwhile.
    Returns both samples of the threads of the processes ``along`` the chains.
    """
    pids = sorted(set(along))
    looks = [_look(graph.table)]
    # Not at once, and twice: whoever was stopped to read its stack has to fall asleep again.
    befores: dict[int, Sample] = {}
    turns = Turns(inquiry, graph)
    for n, step in enumerate(STEPS):
        inquiry.host.sleep(step)
        turns.look()
        if n in SAMPLED:
            befores[n] = inquiry.again(pids)
        looks.append(look_again(inquiry.host, _standing(graph, looks)))
    after = inquiry.again(pids)
    before = {pid: _calmest([sample[pid] for sample in befores.values()], after[pid]) for pid in pids}
    waits = [wait for wait in graph.waits if wait.waiter.pid in after]
    polling = [wait for wait in waits if wait.how is How.POLLING]
    tried = [wait for wait in polling if not wait.resource.part]
    still = set(map(id, pollers.again(inquiry, [one for one in tried if not one.waiter.task_id])))
    tried = [one for one in tried if one.waiter.task_id]
    still |= set(map(id, task_polls.again(inquiry, tried)))
    still |= set(
        map(id, sqlite_waits.again(inquiry, graph, [wait for wait in polling if wait.resource.part]))
    )
    judged = [_Judged(graph, wait, looks, before, after, turns=turns.taken(wait)) for wait in waits]
    stuck: set[int] = set()
    while True:  # who waits for one that is stuck is stuck: until nothing new comes of it
        known = {one.wait.waiter.pid for one in judged if id(one.wait) in stuck}
        new = {id(one.wait) for one in judged if one.is_stuck(still, known)} - stuck
        if not new:
            break
        stuck |= new
    for one in judged:
        graph.replace(one.wait, replace(one.wait, stuck=id(one.wait) in stuck, holds=one.kept))
    return before, after


class _Judged:
    """One wait, with what both samples and all looks say of it."""

    def __init__(
        self,
        graph: LockGraph,
        wait: Wait,
        looks: Sequence[Look],
        before: Sample,
        after: Sample,
        *,
        turns: bool,
    ) -> None:
        self.wait = wait
        standing = graph.blocking(wait)
        lasting = tuple(lock for lock in standing if not lock.listed or _in_all(line(lock), looks))
        self.kept = (_kept(graph, wait, lasting) if lasting else ()) or wait.holds
        self.lasts = (bool(lasting) if standing else _is_free(graph, wait, looks)) and not turns
        self._graph = graph
        self._before, self._after = before, after
        asks = (True, wait.waiter.pid, wait.resource.device, wait.resource.inode)
        self._asks = all(any((x[0], *x[3:6]) == asks for x in look.lines) for look in looks)
        self._ringed = all(wait.waiter.pid in look.ringed for look in looks)

    def is_stuck(self, polling: set[int], stuck: set[int]) -> bool:
        """Whether it has made no progress; ``stuck``: the processes of whose threads one is."""
        if not self.lasts:
            return False
        if self.wait.how is How.POLLING:
            return id(self.wait) in polling
        waiter = self.wait.waiter
        tids = {thread.tid for thread in self._before[waiter.pid] if waiter.tid in (None, thread.tid)}
        if any(self._sleeps(waiter.pid, tid, FEW if self._asks else 0) for tid in tids):
            return True
        return self._asks and self._in_vain(stuck)

    def _in_vain(self, stuck: set[int]) -> bool:
        """Whether a thread that was switched to got nothing: signals woke it, and it asked again.

        It asked at every look, and whoever holds the lock can not have let go of it meanwhile: that is
        the thread itself, or waits for it in turn, or is stuck, or slept all the time.
        """
        waiter = self.wait.waiter
        holders = {hold.holder.pid for hold in self.kept if not hold.passive}
        if self._ringed or (waiter.pid in holders and self._is_alone(waiter.pid)):
            return True
        return bool(holders) and all(
            (pid in stuck and self._is_alone(pid)) or self._all_sleep(pid) for pid in holders
        )

    def _is_alone(self, pid: int) -> bool:
        return len(self._after.get(pid, ())) == 1

    def _all_sleep(self, pid: int) -> bool:
        threads = self._before.get(pid, ())
        return bool(threads) and all(self._sleeps(pid, thread.tid, FEW) for thread in threads)

    def _sleeps(self, pid: int, tid: int, switches: int) -> bool:
        then, now = _thread(self._before, pid, tid), _thread(self._after, pid, tid)
        return same_sleep(then, now, switches)


def same_sleep(one: Thread | None, other: Thread | None, switches: int = 0) -> bool:
    """Whether a thread slept through, from one sample to the other, in the same system call.

    ``switches``: how often it may have woken in between for nothing.
    """
    if one is None or other is None:
        return False
    if one.syscall is None and other.syscall is None and one.wchan != other.wchan:
        return False
    return (
        one.syscall == other.syscall
        and other.voluntary - one.voluntary <= switches
        and other.cpu - one.cpu <= bool(switches)
        and other.state not in ("R", "Z", "X")
    )


def _calmest(samples: Sequence[tuple[Thread, ...]], after: tuple[Thread, ...]) -> tuple[Thread, ...]:
    """Of several samples of a process, the first with the most threads that are in the end as they were."""
    then = {thread.tid: thread for thread in after}
    return max(samples, key=lambda one: sum(same_sleep(thread, then.get(thread.tid)) for thread in one))


def _is_free(graph: LockGraph, wait: Wait, looks: Sequence[Look]) -> bool:
    """Whether nobody was seen to have the lock at any look: who has it is out of sight, or is no process.

    Otherwise it is handed on from one to the next, and was free when we began.
    """
    resource = wait.resource
    files = {(resource.device, resource.inode)} | graph.files.locks_at(resource.path)
    return not any((line[4], line[5]) in files for look in looks for line in look.lines if not line[0])


def _thread(sample: Sample, pid: int, tid: int) -> Thread | None:
    return next((thread for thread in sample.get(pid, ()) if thread.tid == tid), None)


def _look(table: Sequence[FileLock]) -> Look:
    """Take from a table what does not change from read to read: no numbers, no queue positions."""
    behind: dict[int, set[int]] = {}
    for wanted, root, _ in file_lock.queue(table):
        if wanted.pid > 0 and root.pid > 0:
            behind.setdefault(wanted.pid, set()).add(root.pid)
    ringed = frozenset(pid for pid in behind if pid in _reached(behind, pid))
    return Look(frozenset(map(line, table)), ringed)


def _standing(graph: LockGraph, looks: Sequence[Look]) -> frozenset[Line]:
    """The lines on the files that are waited for that were there at every look."""
    files = {(wait.resource.device, wait.resource.inode) for wait in graph.waits}
    files |= {place for wait in graph.waits for place in graph.files.locks_at(wait.resource.path)}
    lasting = frozenset.intersection(*(look.lines for look in looks))
    return frozenset(line for line in lasting if (line[4], line[5]) in files)


def look_again(host: Host, standing: frozenset[Line]) -> Look:
    """Read the table until all that stood is there, or it is gone at every try."""
    look = _look(file_locks.collect(host))
    for _ in range(TRIES - 1):
        if standing <= look.lines:
            break
        more = _look(file_locks.collect(host))
        look = Look(look.lines | more.lines, look.ringed | more.ringed)
    return look


def _reached(behind: Mapping[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    left = set(behind.get(start, ()))
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left |= behind.get(pid, set())
    return found


def line(lock: FileLock) -> Line:
    """What of a lock or request stays the same from read to read."""
    waits = lock.depth > 0
    return (waits, lock.kind, lock.mode, lock.pid, lock.device, lock.inode, lock.first, lock.last)


def _in_all(wanted: Line, looks: Sequence[Look]) -> bool:
    return all(wanted in look.lines for look in looks)


def _kept(graph: LockGraph, wait: Wait, lasting: Sequence[FileLock]) -> tuple[Hold, ...]:
    """The holds of a wait that were there all the time: of readers that come and go, those who stay."""
    keys = {(hold.holder.pid, hold.resource.key, hold.fd) for lock in lasting for hold in graph.holds(lock)}
    soft = [hold for hold in wait.holds if hold.resource.kind != "file-lock"]
    kept = [hold for hold in wait.holds if (hold.holder.pid, hold.resource.key, hold.fd) in keys]
    return (*kept, *soft)
