"""From those who wait for a lock to whoever is at the end of their chains, looked at twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate import implicated, lock_lines, pollers, second_sample, starved, suspects, task_polls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

LONGEST_CHAIN = 16
"""Holders behind holders that are followed."""
MOST_WAITERS = 40
"""Waiters whose stacks are read: of hundreds that queue for one lock, the others ask like these."""


def follow(inquiry: Inquiry, graph: LockGraph) -> tuple[tuple[SeenThread, ...], tuple[Wait, ...]]:
    """Complete the asked waits of ``graph``: their lines of code, their holders, and what is stuck.

    Returns the threads along the chains, and those of their waits that are for no file lock.
    """
    along = follow_holders(inquiry, graph, graph.asked_waits())
    _add_lines(inquiry, graph, along)
    first = implicated.look(inquiry, graph, filter(inquiry.has_stacks, along))
    along = along | {seen.process.pid for seen in first}
    quotas = starved.Quotas(inquiry, along)
    before, after = second_sample.confirm(inquiry, graph, along)
    threads = quotas.mark(implicated.judge(graph, first, before, after))
    return threads, implicated.other_waits(graph, threads)


def follow_holders(inquiry: Inquiry, graph: LockGraph, waits: Sequence[Wait]) -> set[int]:
    """Look at whoever holds what ``waits`` are for, at what that one waits for, and so on.

    Returns all these processes. Others on the host wait for other locks: they are left in peace.
    """
    along = {wait.waiter.pid for wait in waits}
    inquiry.read_stacks(sorted(along)[:MOST_WAITERS], pause=inquiry.pause)
    for _ in range(LONGEST_CHAIN):
        new = {hold.holder.pid for wait in waits for hold in wait.holds if not hold.passive} - along
        if not new:
            break
        along |= new
        inquiry.read_stacks(sorted(new), pause=inquiry.pause)
        for stack in (stack for pid in sorted(new) for stack in inquiry.stacks(pid)):
            if wait := pollers.link_elsewhere(inquiry, graph, stack):
                graph.waits.append(wait)
        graph.waits.extend(task_polls.elsewhere(inquiry, graph, _loops(inquiry, graph, new)))
        waits = [wait for wait in graph.waits if wait.waiter.pid in new]
    return along


def _loops(inquiry: Inquiry, graph: LockGraph, pids: Iterable[int]) -> list[int]:
    """Those of the processes that run an event loop, no task of which is known to poll."""
    known = {wait.waiter.pid for wait in graph.waits if wait.waiter.task_id}
    return [pid for pid in sorted(pids) if pid not in known and suspects.runs_loop(inquiry, pid)]


def _add_lines(inquiry: Inquiry, graph: LockGraph, along: set[int]) -> None:
    """Add to waits and holds the lines of code that asked and took."""
    for wait in list(graph.waits):
        if wait.waiter.pid in along and inquiry.has_stacks(wait.waiter.pid):
            graph.replace(wait, lock_lines.describe_wait(inquiry, wait))
    lock_lines.share_makers(graph)
    lock_lines.describe_holds(inquiry, graph)
