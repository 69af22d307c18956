"""T005: every worker of a pool waits for work that is queued behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T005", "pool-exhaustion"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """All who could do the queued work wait for it themselves, or for somebody who does."""
    graph = chains.Graph(snapshot)
    by_pool: dict[str, list[Wait]] = {}
    for key in sorted(graph.dead):
        wait = graph.stuck[key]
        if wait.resource.kind == "queued-work":
            by_pool.setdefault(wait.resource.key, []).append(wait)
    for waits in by_pool.values():
        workers = {hold.holder.tid for hold in chains.active(waits[0])}
        if any(chains.is_copied(waits[0], hold) for hold in chains.active(waits[0])):
            yield _left_behind(graph, waits)
        elif any(not wait.waiter.task_id and wait.waiter.tid in workers for wait in waits):
            yield _finding(graph, waits, workers)
        elif loop := _through_loop(graph, waits):
            yield _finding(graph, [*waits, *loop], workers)


def _through_loop(graph: Graph, waits: list[Wait]) -> tuple[Wait, ...]:
    """The workers' own waits, where tasks or threads of the same process, which want a worker, hold them up.

    Or messages of other processes, where no other thread could send one. A way back through a database
    or a file is the business of D001, D003 and L002.
    """
    own = tuple(each for hold in chains.active(waits[0]) for each in graph.behind(waits[0], hold))
    leads_back = (_leads_back(graph, graph.path(wait), waits[0].resource.key) for wait in own)
    return own if any(leads_back) else ()


def _leads_back(graph: Graph, path: tuple[Wait, ...], key: str) -> bool:
    """Whether a chain comes to the pool by waits inside one process, or by messages."""
    keys = [wait.resource.key for wait in path]
    way = path[: keys.index(key)] if key in keys else ()
    kinds = {wait.resource.kind for wait in way}
    if not way or not kinds <= chains.IN_PROCESS | chains.TASKS | chains.MESSAGES:
        return False
    return not kinds & chains.MESSAGES or not graph.bystanders(way)


def _finding(graph: Graph, waits: list[Wait], workers: set[int | None]) -> Finding:
    first = next(wait for wait in waits if not wait.waiter.task_id and wait.waiter.tid in workers)
    others = [wait.waiter for wait in waits if wait is not first]
    owner = waits[0].waiter
    many = f"all {len(workers)} workers" if len(workers) > 1 else "the only worker"
    wait = "wait" if len(workers) > 1 else "waits"
    named = phrases.thread(first.waiter) if first.waiter.pid == owner.pid else phrases.who(first.waiter)
    asks = any(each.resource.kind in chains.MESSAGES for each in waits)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{many} of a pool of pid {owner.pid} ({owner.process}) {wait} for work that is queued behind: "
            f"{named} waits{phrases.at(first.where)} for "
            f"{_what(first)} that no worker is free to begin"
        ),
        severity=Severity.CRITICAL,
        # That a message is owed, which the waiting thread would send, is inferred.
        confidence=Confidence.LIKELY if asks else chains.confidence(waits),
        culprit=first.waiter,
        victims=(*others, *(actor for actor in graph.victims(waits) if actor not in others)),
        resource=first.resource,
        chain=chains.links(waits),
        evidence=chains.evidence(waits),
        remedy=(
            f"kill -KILL {owner.pid}: the queued work can never begin; all work in progress is lost",
            "in the code: do not wait in a worker for work of the same pool; use a second pool for the "
            "inner work, or return the inner futures and wait for them outside",
        ),
        check=phrases.check_stack(owner.pid, first.waiter.pid),
    )


def _left_behind(graph: Graph, waits: list[Wait]) -> Finding:
    """Work given to a pool that is only a copy, made by fork: nobody passes it on."""
    first = waits[0]
    others = [wait.waiter for wait in waits[1:]]
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {first.resource.name}: the "
            "threads that pass its work on exist in that process only"
        ),
        severity=Severity.CRITICAL,
        confidence=chains.confidence(waits),
        culprit=first.waiter,
        victims=(*others, *(actor for actor in graph.victims(waits) if actor not in others)),
        resource=first.resource,
        chain=chains.links(waits),
        evidence=chains.evidence(waits),
        remedy=(
            f"kill -KILL {first.waiter.pid}: its wait can never end; a pool whose worker it is starts "
            "another one, but may wait for ever for what the killed one had begun",
            "in the code: do not use a pool in a process that was forked after it was made; do the inner "
            "work directly, or return to the parent what it shall give to the pool",
        ),
        check=phrases.check_stack(first.waiter.pid),
    )


def _what(wait: Wait) -> str:
    if wait.resource.kind == "queued-work":
        return "work"
    return f"{chains.short(wait.resource).removesuffix(' to end')}, which waits for a future"
