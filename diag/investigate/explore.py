"""From some processes to everything they wait for, across threads, files, pipes and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import file_locks, pyspy
from diag.investigate import (
    database_gaps,
    implicated,
    lock_chains,
    lock_lines,
    lock_views,
    named_pollers,
    pollers,
    second_sample,
    sqlite_waits,
    starved,
    suspects,
    task_polls,
    tasks,
    unread_pollers,
)
from diag.investigate.lock_files import LockFiles
from diag.investigate.lock_graph import LockGraph
from diag.investigate.lock_look import LOCK_RULES
from diag.investigate.wait_chains import CHAIN_RULES, unknown_holders
from diag.model.graph import How
from diag.model.snapshot import Snapshot
from diag.waits.file_lock import blocked_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Gap, Stack, Thread
    from diag.model.snapshot import SeenThread

    Say = Callable[[str], None]

MOST_AGAIN = 8
"""Processes that are looked at several times for a poll: somebody asked about them, not about a tree."""
_SLEEPS = frozenset({"nanosleep", "clock_nanosleep", "select", "pselect6"})


def explore(
    inquiry: Inquiry, start: Sequence[int], say: Say = lambda _: None, graph: LockGraph | None = None
) -> Snapshot:
    """Look at the processes ``start`` and whoever holds what they wait for, until nothing new appears.

    Two samples, a second apart, tell what is stuck from what is merely slow. ``graph``: the file locks of
    the whole host, where they are known already; without it, those that these processes wait for.
    """
    say(f"looking at {len(start)} processes")
    whole = graph is not None
    graph = graph or _file_locks(inquiry, start)
    behind = _behind_tasks(graph, start)
    beside = inquiry.databases.blockers(start) if inquiry.databases else ()
    first = implicated.look(inquiry, graph, (*start, *behind, *beside), most=len(start) + implicated.MOST)
    pids = {seen.process.pid for seen in first}
    seen_tasks, first = tasks.look(inquiry, first)
    if not whole:
        _keep_to(graph, pids)
    _add_lines(inquiry, graph)
    say(f"looking a second time at {len(pids)} processes")
    quotas = starved.Quotas(inquiry, pids)
    before, after = second_sample.confirm(inquiry, graph, pids)
    threads = quotas.mark(implicated.judge(graph, first, before, after))
    seen_tasks = tasks.again(inquiry, seen_tasks)
    threads = _with_other_looks(inquiry, threads)
    if inquiry.databases:
        threads = inquiry.databases.confirm(threads)
    return Snapshot(
        processes=tuple(process for process in inquiry.processes.values() if process),
        threads=threads,
        tasks=seen_tasks,
        locks=tuple(lock for lock in lock_views.locks(graph) if lock.waiters),
        soft_locks=tuple(inquiry.soft_locks.values()),
        waits=(
            *graph.waits,
            *implicated.other_waits(graph, threads),
            *(task.wait for task in seen_tasks if task.wait),
        ),
        databases=inquiry.databases.found if inquiry.databases else (),
        taken_at=inquiry.clock.wall,
        callers=tuple(sorted(inquiry.databases.called)) if inquiry.databases else (),
        lines=tuple(sorted(inquiry.databases.lines)) if inquiry.databases else (),
        clients=tuple(inquiry.databases.clients.values()) if inquiry.databases else (),
        gaps=(
            *_denied(inquiry, pids),
            *unknown_holders(inquiry, threads, seen_tasks),
            *database_gaps.unasked(threads),
            *inquiry.gaps,
            *lock_views.gaps(graph, LOCK_RULES if _hides_holder(graph) else frozenset()),
        ),
    )


def _behind_tasks(graph: LockGraph, start: Sequence[int]) -> set[int]:
    """Who holds what tasks wait for: their threads wait for something else."""
    waits = [wait for wait in graph.waits if wait.waiter.task_id and wait.waiter.pid in start]
    return {hold.holder.pid for wait in waits for hold in wait.holds if not hold.passive}


def _hides_holder(graph: LockGraph) -> bool:
    """Whether a thread is stuck for a file lock, and nobody that can be seen has it."""
    return any(wait.stuck and not wait.holds for wait in graph.waits)


def _with_other_looks(inquiry: Inquiry, threads: tuple[SeenThread, ...]) -> tuple[SeenThread, ...]:
    """Look once more at processes where a thread has the GIL and sleeps: one look may be torn."""
    suspects = {
        seen.process.pid for seen in threads if seen.moved is False and seen.stack and seen.stack.owns_gil
    }
    if not suspects:
        return threads
    again = inquiry.fresh_stacks(suspects)
    fresh = {(pid, stack.tid): stack for pid, stacks in again.items() for stack in stacks}
    return tuple(
        replace(seen, others=(other,)) if (other := fresh.get((seen.process.pid, seen.thread.tid))) else seen
        for seen in threads
    )


def _file_locks(inquiry: Inquiry, start: Sequence[int]) -> LockGraph:
    """All file locks of the host that somebody waits for, and those that the processes poll for."""
    try:
        table = file_locks.collect(inquiry.host)
    except OSError:
        table = ()
    waited = {(lock.device, lock.inode) for lock in table if lock.depth}
    wanted = [lock for lock in table if (lock.device, lock.inode) in waited]
    graph = LockGraph(inquiry, LockFiles(inquiry.host, (), wanted), table)
    threads = [thread for pid in start for thread in inquiry.threads(pid)]
    if waited or any(thread.syscall and blocked_in(thread.syscall) for thread in threads):
        graph.add_blocked()
    for stack in _sleeping(inquiry, threads):
        if wait := pollers.link_elsewhere(inquiry, graph, stack):
            graph.waits.append(wait)
    looping = [pid for pid in start if suspects.runs_loop(inquiry, pid)]
    graph.waits.extend(task_polls.elsewhere(inquiry, graph, looping))
    for pid in sorted({thread.pid for thread in threads if _may_poll(thread)}):
        sqlite_waits.adopt(inquiry, graph, pid)
    sqlite_waits.add(inquiry, graph)
    _look_again(inquiry, graph, {thread.pid for thread in threads if _may_poll(thread)})
    lock_chains.follow_holders(inquiry, graph, [wait for wait in graph.waits if wait.waiter.pid in start])
    if any(wait.how is How.POLLING for wait in graph.waits):  # the kernel lists none of those who poll too
        suspects.add_pollers(inquiry, graph)
    else:
        unread_pollers.adopt(inquiry, graph, start, suspects.restless)
        inquiry.gaps.extend(unread_pollers.gaps(inquiry, graph, suspects.restless, suspects.POLLER_RULES))
        more = named_pollers.of(inquiry, graph, start, suspects.restless, suspects.POLLER_RULES)
        inquiry.gaps.extend(more)
    return graph


def _may_poll(thread: Thread) -> bool:
    """Whether a thread sleeps for a time, or is awake: perhaps in the middle of a try."""
    return thread.state == "R" or thread.syscall is None or thread.syscall.name in _SLEEPS


def _look_again(inquiry: Inquiry, graph: LockGraph, pids: set[int]) -> None:
    """Look again at those who may poll and were not caught asleep between two tries."""
    for _ in range(pollers.LOOKS - 1):
        left = sorted(pids - {wait.waiter.pid for wait in graph.waits})
        if not left or len(left) > MOST_AGAIN:
            return
        inquiry.host.sleep(pollers.PAUSE)
        for stack in (stack for stacks in inquiry.fresh_stacks(left).values() for stack in stacks):
            if wait := pollers.link_elsewhere(inquiry, graph, stack):
                graph.waits.append(wait)


def _sleeping(inquiry: Inquiry, threads: Iterable[Thread]) -> Iterable[Stack]:
    """The stacks of threads that sleep for a time: they may poll."""
    for thread in threads:
        if thread.syscall and thread.syscall.name in _SLEEPS:
            stack = inquiry.stack(thread.pid, thread.tid)
            if stack:
                yield stack


def _keep_to(graph: LockGraph, pids: set[int]) -> None:
    """Leave out the file locks of strangers: waits of others count only behind the same locks."""
    wanted = {hold.resource.key for wait in graph.waits if wait.waiter.pid in pids for hold in wait.holds}
    graph.waits[:] = [
        wait
        for wait in graph.waits
        if wait.waiter.pid in pids or any(hold.resource.key in wanted for hold in wait.holds)
    ]


def _add_lines(inquiry: Inquiry, graph: LockGraph) -> None:
    """Add to waits and holds of file locks the lines of code that asked and took."""
    for wait in list(graph.waits):
        graph.replace(wait, lock_lines.describe_wait(inquiry, wait))
    lock_lines.describe_holds(inquiry, graph, 0)


def _denied(inquiry: Inquiry, pids: Iterable[int]) -> Iterable[Gap]:
    """Say of which processes on the way the reader may not see what their threads do."""
    for pid in sorted(pids):
        process = inquiry.process(pid)
        if process and not process.kernel and pyspy.is_denied(inquiry.host, process):
            gap = pyspy.denied_gap(inquiry.host, process)
            yield replace(gap, blinds=gap.blinds | CHAIN_RULES)
