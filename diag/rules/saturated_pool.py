"""D001: a transaction's next statement is queued behind those that wait for its lock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, database_locks, phrases, pool_queue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.chains import Graph
    from diag.rules.database_locks import Blocked

CODE, SLUG = "D001", "saturated-pool"
_NUMBER = re.compile(r"[-_ #:]*\d+(?=$| \()")
"""Of a thread's name: "worker-3", and since 3.10 "Thread-3 (worker)"."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """All workers of a pool wait for a lock of a session whose own next statement they would have to run."""
    graph = chains.Graph(snapshot)
    for one in blocked(snapshot, graph):
        yield _finding(graph, one)


def blocked(snapshot: Snapshot, graph: Graph) -> Iterator[Blocked]:
    """The sessions whose next statement cannot begin before they let go."""
    for one in database_locks.blocked(snapshot, graph):
        holder = one.holder
        if not one.is_idle or holder is None or not holder.pid or not one.waits:
            continue
        workers = [wait for wait in one.waits if wait.waiter.pid == holder.pid]
        if workers and not _idle_siblings(graph, workers) and pool_queue.queued(graph, one, workers):
            yield one


def _idle_siblings(graph: Graph, workers: Sequence[Wait]) -> list[SeenThread]:
    """Threads of the same pool that could still run a statement."""
    tids = {wait.waiter.tid for wait in workers}
    kinds = {_kind(seen) for wait in workers if (seen := graph.seen(wait.waiter))}
    return [
        seen
        for seen in graph.threads(workers[0].waiter.pid)
        if seen.thread.tid not in tids and _kind(seen) in kinds
    ]


def _kind(seen: SeenThread) -> tuple[str, ...]:
    """What makes threads workers of one pool: the name without its number, and how their stacks begin."""
    name = _NUMBER.sub("", (seen.stack and seen.stack.thread) or seen.thread.name)
    return (name, *pool_queue.begin(seen))


def _finding(graph: Graph, one: Blocked) -> Finding:
    holder = one.holder
    assert holder is not None
    workers = [wait for wait in one.waits if wait.waiter.pid == holder.pid]
    queued = pool_queue.queued(graph, one, workers)
    first = queued[0]
    inside = first.waiter.pid == holder.pid
    ends = [wait for wait in queued if pool_queue.ends_transaction(graph, wait)]
    more = f" (and {len(queued) - 1} others)" if len(queued) > 1 else ""
    what = "its commit or rollback" if ends else "the next statement of that transaction"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"all {len(workers)} workers of a pool of pid {holder.pid} ({holder.process}) wait for the "
            f"{one.lock.name} that {one.named} of {one.database.server.name} has, a connection of the same "
            f"process that nobody reads from; {_asker(first.waiter)}{more} waits"
            f"{phrases.at(first.where)} for an answer of that pool: {what} is queued behind them"
        ),
        severity=Severity.CRITICAL,
        confidence=_confidence(
            graph,
            one,
            inside=inside,
            told=holder.tid is not None and first.resource.kind in pool_queue.QUEUES,
        ),
        culprit=first.waiter if first.waiter.task or (ends and not inside) else holder,
        victims=(*(wait.waiter for wait in workers), *(wait.waiter for wait in queued)),
        resource=database_locks.resource(one),
        chain=chains.links((workers[0], first) if inside else (first, workers[0])),
        evidence=database_locks.evidence(
            one, *(wait.evidence for wait in queued[:3]), *(wait.evidence for wait in workers[:3])
        ),
        against=(
            "the server's lock wait timeout fails the statements in turn: the pool frees for a moment, and "
            "fills again",
            *_beside(graph, holder.pid, workers, first),
        ),
        remedy=(
            database_locks.kill(one),
            "in the code: run COMMIT and ROLLBACK in a pool of their own, or on the thread that has the "
            "transaction; or bind a worker to a connection until its transaction ends; a larger pool only "
            "moves the limit",
        ),
        check=(*phrases.check_stack(holder.pid, first.waiter.pid), "diag db DSN"),
    )


def _asker(actor: Actor) -> str:
    return f"{phrases.thread(actor)} of it" if actor.task else phrases.who(actor)


def _beside(graph: Graph, pid: int, workers: Sequence[Wait], first: Wait) -> Iterator[str]:
    """Name the threads of which it is only inferred that they do not serve a home-made pool."""
    if first.waiter.pid != pid or first.resource.kind in pool_queue.QUEUES:
        return
    beside = pool_queue.elsewhere(graph, pid, workers)
    if beside:
        names = [phrases.who(seen.wait.waiter) for seen in beside if seen.wait]
        more = f" and {len(names) - 3} others" if len(names) > 3 else ""
        yield f"{', '.join(names[:3])}{more} idle elsewhere: if one of them serves that pool too, it goes on"


def _confidence(graph: Graph, one: Blocked, *, inside: bool, told: bool) -> Confidence:
    """Certain where the thread is known and waits for the pool by name; else its queue is inferred."""
    holder = one.holder
    if inside and told and one.lock.certain and one.hold is not None and one.hold.certain:
        return Confidence.CERTAIN
    if inside or (holder is not None and pool_queue.line_of(graph, holder)):
        return Confidence.LIKELY
    if holder is None or (holder.pid, 0) in graph.snapshot.callers or pool_queue.others(graph, holder):
        return Confidence.POSSIBLE
    return Confidence.LIKELY
