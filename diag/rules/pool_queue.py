"""Who waits for a pool whose workers wait for a database lock: in its process, or as a client of a proxy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.rules import chains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread
    from diag.rules.chains import Graph
    from diag.rules.database_locks import Blocked

QUEUES = frozenset({"queued-work", "future"})
"""What is waited for in an executor."""
_ENDS = re.compile(r"^(?:.*[._])?(?:commit|rollback)$")
_ANSWERS = frozenset({"queue", "event", "condition", "lock", "semaphore", "future"})
"""By what a thread may be told that another has done its work."""
_INSIDE = _ANSWERS | {"full queue", "unfinished queue", "barrier", "thread", "work", "queued-work", "futex"}
"""What only a thread of the same process can end."""
_ELSEWHERE = frozenset({"sleep", "signal", "epoll"})
"""What main threads, metrics and heartbeats do: they sleep, or wait for somebody outside."""
_POOL = 2


def queued(graph: Graph, one: Blocked, workers: Sequence[Wait]) -> tuple[Wait, ...]:
    """Those who wait for the pool to run something: in the process itself, or as clients of a proxy."""
    inside = _waiting_inside(graph, one, workers)
    return inside or _waiting_clients(graph, one, workers)


def _waiting_inside(graph: Graph, one: Blocked, workers: Sequence[Wait]) -> tuple[Wait, ...]:
    """The thread that has the connection waits for a worker, or all threads that may have it do."""
    holder = one.holder
    tids = {wait.waiter.tid for wait in workers}
    if holder is None:
        return ()
    known = holder.tid is not None and one.hold is not None and one.hold.certain
    own = graph.seen(holder) if known else None
    threads = [own] if own is not None else graph.threads(holder.pid)
    waits = [seen.wait for seen in threads if seen.wait and seen.thread.tid not in tids]
    if told := [wait for wait in waits if wait.stuck and _needs(wait, tids)]:
        return tuple(told)
    if tasks := _waiting_tasks(graph, holder.pid, tids):
        return tasks
    answers = tuple(wait for wait in waits if wait.resource.kind in _ANSWERS)
    clear = own is not None and _asks_like_others(graph, own, tids)
    return answers if _nobody_else(graph, holder.pid, tids, clear=clear) else ()


def _waiting_tasks(graph: Graph, pid: int, tids: set[int | None]) -> tuple[Wait, ...]:
    """The tasks of an event loop whose work is queued in the pool.

    One of them has the transaction, if every task waits for the pool or for another task; whoever waits
    for something else may have it instead.
    """
    tasks = [task for task in graph.snapshot.tasks if task.process.pid == pid]
    waits = [task.wait for task in tasks if task.wait and task.wait.stuck]
    if len(waits) < len(tasks) or any(wait.resource.kind not in QUEUES | chains.TASKS for wait in waits):
        return ()
    return tuple(wait for wait in waits if wait.resource.kind == "queued-work" and _needs(wait, tids))


def _asks_like_others(graph: Graph, own: SeenThread, tids: set[int | None]) -> bool:
    """Whether as many threads as there are workers wait in the function where the transaction's does.

    Those whose statements the workers run wait there: it is how this program asks its pool.
    """
    place = _asked_in(own)
    others = [
        seen
        for seen in graph.threads(own.process.pid)
        if seen.thread.tid not in tids and seen.thread.tid != own.thread.tid and _asked_in(seen) == place
    ]
    return place is not None and len(others) >= len(tids)


def _asked_in(seen: SeenThread) -> tuple[str, str] | None:
    wait = seen.wait
    if wait is None or wait.where is None or wait.resource.kind not in _ANSWERS:
        return None
    return wait.where.file, wait.where.function


def elsewhere(graph: Graph, pid: int, workers: Sequence[Wait]) -> list[SeenThread]:
    """Threads beside a home-made pool that idle elsewhere: it is inferred that they do not serve it."""
    tids = {wait.waiter.tid for wait in workers}
    return [seen for seen in graph.threads(pid) if seen.thread.tid not in tids and _idles(graph, seen, tids)]


def _idles(graph: Graph, seen: SeenThread, tids: set[int | None]) -> bool:
    """Whether a thread idles elsewhere, and was not begun as the workers are: that one may serve a pool."""
    if seen.wait is None:
        return False
    listens = seen.wait.resource.kind == "socket" and seen.wait.how is How.IDLE
    workers = {begin(other) for other in graph.threads(seen.process.pid) if other.thread.tid in tids}
    return (listens or seen.wait.resource.kind in _ELSEWHERE) and begin(seen) not in workers


def begin(seen: SeenThread) -> tuple[str, ...]:
    """How the stack of a thread begins: three frames of threading, and what it was made to run."""
    frames = [frame for frame in seen.stack.frames if not frame.native] if seen.stack else []
    return tuple(f"{frame.file}:{frame.function}" for frame in frames[-4:])


def _needs(wait: Wait, tids: set[int | None]) -> bool:
    """Whether a wait can only be ended by the pool."""
    if wait.resource.kind not in QUEUES:
        return False
    holders = {hold.holder.tid for hold in chains.active(wait)}
    return bool(holders) and holders <= tids


def _nobody_else(graph: Graph, pid: int, tids: set[int | None], *, clear: bool) -> bool:
    """Whether only the workers could end a wait for a queue, event or lock of their process.

    Pools that are no executors (threads and a queue) show no list of their work. But where all other threads
    wait for something inside the process too, without a time limit, none of them will give an answer; nor
    will those that sleep or listen for somebody outside, where it is ``clear`` how the pool is asked.
    """
    return len(tids) >= _POOL and all(
        seen.wait is not None
        and (
            (clear and _idles(graph, seen, tids))
            or (seen.wait.resource.kind in _INSIDE and seen.wait.how in (How.BLOCKED, How.IDLE))
        )
        for seen in graph.threads(pid)
        if seen.thread.tid not in tids
    )


def _waiting_clients(graph: Graph, one: Blocked, workers: Sequence[Wait]) -> tuple[Wait, ...]:
    """Clients that wait for an answer of the proxy, more than its workers serve; all its clients do.

    A client of the proxy that does something else may have the transaction open itself: then the pool is
    full, but that client is the cause (D002).
    """
    holder = one.holder
    if holder is None:
        return ()
    line = line_of(graph, holder)
    if line is not None:
        return tuple(
            seen.wait
            for seen in graph.snapshot.threads
            if seen.wait and seen.wait.resource.kind == "socket" and _inode(seen.wait) == line
        )
    found = [
        seen.wait
        for seen in graph.snapshot.threads
        if seen.wait
        and seen.wait.stuck
        and seen.wait.resource.kind == "socket"
        and seen.wait.how in (How.BLOCKED, How.TIMED)
        and seen.process.pid != holder.pid
        and any(hold.holder.pid == holder.pid for hold in seen.wait.holds)
    ]
    if any(ends_transaction(graph, wait) for wait in found):
        return tuple(sorted(found, key=lambda wait: not ends_transaction(graph, wait)))
    return tuple(found) if len(found) > len(workers) and not others(graph, holder) else ()


def line_of(graph: Graph, holder: Actor) -> int | None:
    """The client's end of the connection from which a proxy's thread awaits what that transaction is to do.

    Who waits on it has sent its statement, and the proxy has read it; who does not has yet to send one.
    """
    seen = graph.seen(holder) if holder.tid is not None else None
    if seen is None or seen.wait is None or seen.wait.resource.kind != "socket":
        return None
    own = _inode(seen.wait)
    return next((other for mine, other in graph.snapshot.lines if mine == own), None)


def _inode(wait: Wait) -> int:
    """The socket that is waited on."""
    number = wait.resource.key.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def others(graph: Graph, holder: Actor) -> list[SeenThread]:
    """Threads of a proxy's clients that do not wait for it: one of them may have the transaction open."""
    callers = {caller for called, caller in graph.snapshot.callers if called == holder.pid}
    return [
        seen
        for seen in graph.snapshot.threads
        if seen.process.pid in callers
        and seen.wait
        and not _calls(seen.wait, holder)
        and not _joins(seen.wait)
    ]


def _calls(wait: Wait, holder: Actor) -> bool:
    return wait.resource.kind == "socket" and any(hold.holder.pid == holder.pid for hold in wait.holds)


def _joins(wait: Wait) -> bool:
    """Waits for a thread of its own process, or for nothing: no statement comes from there."""
    return wait.resource.kind == "thread" or wait.how is How.IDLE


def ends_transaction(graph: Graph, wait: Wait) -> bool:
    """Whether a thread is inside a call of commit or rollback."""
    seen = graph.seen(wait.waiter)
    frames = seen.stack.frames if seen and seen.stack else ()
    return any(_ENDS.match(frame.function) for frame in frames)
