"""The threads of every process along the wait chains, with what each waits for besides file locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import process as processes
from diag.investigate import end_polls, kept_pipes, lock_polls, thread_locks
from diag.investigate.second_sample import same_sleep
from diag.investigate.surroundings import Surroundings
from diag.model.facts import Gap
from diag.model.graph import How
from diag.model.snapshot import SeenThread
from diag.waits import link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Stack, Syscall, Thread
    from diag.model.graph import Wait

    Sample = Mapping[int, tuple[Thread, ...]]

LONGEST_CHAIN = 16
"""Processes behind processes that are followed."""
MOST = 200
"""Processes that are looked at: a pipe or socket may have very many at its other end."""
_OWNED = frozenset({"thread-lock", "native-lock", "module-lock"})
_WAITS = ("wait4", "waitid", "vfork", "clone", "clone3")


def look(
    inquiry: Inquiry, graph: LockGraph, start: Iterable[int] | None = None, most: int = MOST
) -> tuple[SeenThread, ...]:
    """Describe the threads of some processes, and of whoever those wait for in turn.

    ``start``: the processes; without it all who wait for or hold a lock of the graph. ``most``: processes
    that are looked at.
    """
    found: list[SeenThread] = []
    done: set[int] = set()
    if start is None:
        new = {wait.waiter.pid for wait in graph.waits}
        new.update(hold.holder.pid for wait in graph.waits for hold in wait.holds)
    else:
        new = set(start)
    for _ in range(LONGEST_CHAIN):
        pids = sorted(pid for pid in new - done if inquiry.process(pid))[: most - len(done)]
        if not pids:
            break
        done.update(pids)
        fresh = _describe(inquiry, graph, pids)
        found.extend(fresh)
        waits = [seen.wait for seen in fresh if seen.wait and seen.wait.how is not How.IDLE]
        new = {hold.holder.pid for wait in waits for hold in wait.holds}
        if inquiry.databases:
            new.update(inquiry.databases.callers(waits))
    return tuple(inquiry.databases.settle(found) if inquiry.databases else found)


def _describe(inquiry: Inquiry, graph: LockGraph, pids: list[int]) -> Iterable[SeenThread]:
    threads = [thread for pid in pids for thread in inquiry.threads(pid)]
    around = Surroundings(inquiry, threads)  # before py-spy: what it stops shows as restart_syscall
    parents = sorted({thread.pid for thread in threads if thread.syscall and thread.syscall.name in _WAITS})
    for pid in processes.family(inquiry.host, *parents) if parents else ():
        inquiry.process(pid)  # known from now on: the link names the child that is waited for
    inquiry.read_stacks(pids, pause=inquiry.pause)
    stacks: dict[tuple[int, int], Stack] = {}
    for pid in pids:
        tids = [thread.tid for thread in inquiry.threads(pid)]
        stacks.update(_by_thread(inquiry.stacks(pid), tids))
    locks = _of_threads(graph.waits)
    seen = [
        SeenThread(process=scene.process, thread=scene.thread, stack=scene.stack, wait=link(scene))
        for scene in around.scenes(stacks, locks)
    ]
    inquiry.gaps.extend(_unseen_servers(inquiry, seen))
    if around.hidden:
        inquiry.gaps.extend(_unseen_ends(inquiry, seen))
    seen = end_polls.refine(inquiry, thread_locks.refine(inquiry, seen, around.asked))
    seen = kept_pipes.refine(inquiry, seen)
    return inquiry.databases.refine(seen) if inquiry.databases else seen


def _by_thread(stacks: Sequence[Stack], tids: Collection[int]) -> Iterable[tuple[tuple[int, int], Stack]]:
    """Give each thread its stack.

    In a forked child of Python 2.7 the threads of the parent are listed still, newest first: a new thread
    may have the address of a gone one, and the only thread there is the oldest.
    """
    found: dict[tuple[int, int], Stack] = {}
    for stack in stacks:
        if stack.tid is not None:
            found.setdefault((stack.pid, stack.tid), stack)
    if not found and stacks and len(tids) == 1:
        found[stacks[-1].pid, next(iter(tids))] = stacks[-1]
    return found.items()


def _unseen_ends(inquiry: Inquiry, threads: Iterable[SeenThread]) -> Iterable[Gap]:
    """Say of a pipe that seems to have nobody at its other end that somebody unseen may be there."""
    for seen in threads:
        wait = seen.wait
        if wait and wait.resource.kind == "pipe" and not wait.certain:
            yield Gap(
                source="/proc/PID/fd",
                hides=f"who has the other end of {wait.resource.name}",
                reason="permission denied for some processes",
                hint="run diag as root"
                if inquiry.host.info.uid
                else "run diag on the host, outside the container",
                blinds=frozenset({"P001", "P002", "P003", "P005", "P006"}),
            )


def _unseen_servers(inquiry: Inquiry, threads: Iterable[SeenThread]) -> Iterable[Gap]:
    """Say of a FUSE file system that the process which serves it was not found."""
    unserved = {
        seen.wait.resource.key: seen.wait
        for seen in threads
        if seen.wait
        and seen.wait.resource.kind == "io"
        and seen.wait.resource.mode == "fuse"
        and not seen.wait.holds
    }
    for wait in unserved.values():
        yield Gap(
            source="/proc/PID/fd",
            hides=f"which process serves the {wait.resource.name}",
            reason="no process that may be seen has /dev/fuse open for it",
            hint="run diag as root"
            if inquiry.host.info.uid
            else "run diag on the host, outside the container",
            blinds=frozenset({"P004"}),
        )


def judge(
    graph: LockGraph, threads: Iterable[SeenThread], before: Sample, after: Sample
) -> tuple[SeenThread, ...]:
    """Mark each thread as moving or still, and each of its waits as stuck or not."""
    locks = _of_threads(graph.waits)
    found = []
    for seen in threads:
        key = (seen.process.pid, seen.thread.tid)
        still = same_sleep(_thread(before, *key), _thread(after, *key))
        wait = locks.get(key) or (replace(seen.wait, stuck=still) if seen.wait else None)
        found.append(replace(seen, wait=wait, samples=2, moved=not still))
    ended = end_polls.again(graph.inquiry, _with_woken(found, before, after))
    return lock_polls.again(graph.inquiry, ended)


def _with_woken(threads: list[SeenThread], before: Sample, after: Sample) -> list[SeenThread]:
    """Mark as stuck who was woken by signals, and asks again for a lock that nobody can have let go of.

    Whoever has it is stuck, or is the waiter itself: it asked at both looks, and got nothing in between.
    """
    known = {_key(seen): n for n, seen in enumerate(threads)}
    asks = [
        n
        for n, seen in enumerate(threads)
        if seen.wait
        and not seen.wait.stuck
        and seen.wait.how is How.BLOCKED
        and seen.wait.resource.kind in _OWNED
        and seen.thread.syscall
        and all(_asks_again(seen.thread.syscall, sample, seen) for sample in (before, after))
    ]
    while True:
        stuck = {key for key, n in known.items() if (wait := threads[n].wait) and wait.stuck}
        new = [n for n in asks if _in_vain(threads[n], stuck)]
        if not new:
            return threads
        for n in new:
            seen = threads[n]
            threads[n] = replace(seen, wait=replace(seen.wait, stuck=True) if seen.wait else None)
        asks = [n for n in asks if n not in new]


def _in_vain(seen: SeenThread, stuck: set[tuple[int, int]]) -> bool:
    holds = [hold for hold in (seen.wait.holds if seen.wait else ()) if not hold.passive]
    holders = {(hold.holder.pid, hold.holder.tid or hold.holder.pid) for hold in holds}
    return bool(holds) and holders <= stuck | {_key(seen)}


def _key(seen: SeenThread) -> tuple[int, int]:
    return seen.process.pid, seen.thread.tid


def _asks_again(call: Syscall, sample: Sample, seen: SeenThread) -> bool:
    """Whether a thread sleeps on the same word: what is left in registers it does not use may differ."""
    thread = _thread(sample, *_key(seen))
    now = thread.syscall if thread else None
    return now is not None and (now.name, now.arguments[:1]) == (call.name, call.arguments[:1])


def _thread(sample: Sample, pid: int, tid: int) -> Thread | None:
    return next((thread for thread in sample.get(pid, ()) if thread.tid == tid), None)


def _of_threads(waits: Iterable[Wait]) -> dict[tuple[int, int], Wait]:
    """The waits of threads, by pid and tid: what a task waits for does not keep its thread."""
    alone = (wait for wait in waits if not wait.waiter.task_id)
    return {(wait.waiter.pid, wait.waiter.tid or wait.waiter.pid): wait for wait in alone}


def other_waits(graph: LockGraph, threads: Iterable[SeenThread]) -> tuple[Wait, ...]:
    """The waits of the threads that are none of the file locks already in the graph."""
    known = {(wait.waiter.pid, wait.waiter.tid) for wait in graph.waits if not wait.waiter.task_id}
    waits = (seen.wait for seen in threads)
    return tuple(wait for wait in waits if wait and (wait.waiter.pid, wait.waiter.tid) not in known)
