"""File locks that the threads of some processes wait for, for a look that was not about locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import file_locks
from diag.waits.file_lock import blocked_in
from diag.waits.scene import asked_through, at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack, Thread
    from diag.model.graph import Wait
    from diag.model.io import Asked

    ThreadId = tuple[int, int]

_POLLERS_SLEEP = frozenset({"nanosleep", "clock_nanosleep", "select", "pselect6"})
_LONGEST_PAUSE = 15.0
"""Seconds between two tries of a lock: who sleeps longer is no poller."""


def find(
    inquiry: Inquiry, threads: Sequence[Thread], asked: Mapping[ThreadId, Asked]
) -> dict[ThreadId, Wait]:
    """Link the threads that wait for a file lock, blocked or polling, with those who hold it."""
    blocked = any(thread.syscall and blocked_in(thread.syscall) for thread in threads)
    hidden = {thread.pid for thread in threads if thread.syscall is None and thread.state == "S"}
    sleeping = [thread for thread in threads if _may_poll(thread, asked.get((thread.pid, thread.tid)))]
    stacks = [stack for thread in sleeping if (stack := inquiry.stack(thread.pid, thread.tid))]
    if not blocked and not hidden and not stacks:
        return {}
    try:
        table = file_locks.collect(inquiry.host)
    except OSError:
        return {}
    # Of a process that may not be looked into, the table still says that it waits for one.
    blocked = blocked or not hidden.isdisjoint(lock.pid for lock in table if lock.depth)
    if not blocked and not stacks:
        return {}
    # They load a parser of Python source: a tenth of the time of a look that needs none.
    from diag.investigate import pollers  # noqa: PLC0415
    from diag.investigate.lock_files import LockFiles  # noqa: PLC0415
    from diag.investigate.lock_graph import LockGraph  # noqa: PLC0415
    from diag.waits import lock_sites  # noqa: PLC0415

    waited = {(lock.device, lock.inode) for lock in table if lock.depth} if blocked else set()
    wanted = [lock for lock in table if (lock.device, lock.inode) in waited]
    graph = LockGraph(inquiry, LockFiles(inquiry.host, (), wanted), table)
    if blocked:
        graph.add_blocked()
    polls: dict[object, bool] = {}
    for stack in stacks:
        lines = tuple((frame.file, frame.line) for frame in stack.frames)
        if lines not in polls:  # five hundred threads may stand at the same lines
            ask = lock_sites.asking(stack, inquiry.sources(stack))
            polls[lines] = ask is not None and ask.how == "polling"
        if polls[lines] and (wait := pollers.link_elsewhere(inquiry, graph, stack)):
            graph.waits.append(wait)
    return {(wait.waiter.pid, wait.waiter.tid or wait.waiter.pid): wait for wait in graph.waits}


def _may_poll(thread: Thread, asked: Asked | None) -> bool:
    """Whether a thread sleeps as one that tries a lock, sleeps and tries again: for a short time."""
    if thread.syscall is None or thread.syscall.name not in _POLLERS_SLEEP:
        return False
    time = (asked.limit if asked.left is None else asked.left) if asked else None
    return time is None or time <= _LONGEST_PAUSE


def in_words(wait: Wait, stack: Stack | None, doing: Mapping[ThreadId, Wait]) -> Wait:
    """Say who holds the lock, and what that one does: the wait of its thread, or of its main thread."""
    where = f"{asked_through(stack)}{at(stack)}"
    held = ""
    if wait.holds:
        holder = wait.holds[0].holder
        more = f" and {len(wait.holds) - 1} more" if len(wait.holds) > 1 else ""
        does = doing.get((holder.pid, holder.tid or holder.pid))
        if holder.pid == wait.waiter.pid:
            held = f" held by its own process{more}"
        else:
            held = f" held by pid {holder.pid} ({does.words if does else holder.process}){more}"
    return replace(wait, words=f"{wait.words}{held}{where}")
