"""T009: coroutines or greenlets wait for each other, or one for a lock that it holds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T009", "task-deadlock"
_OTHERS = frozenset({"queued-work", "file-lock"})  # T005, L002


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Waits of one process form a ring that goes through at least one task or greenlet."""
    graph = chains.Graph(snapshot)
    for ring in graph.rings():
        if any(wait.waiter.task_id for wait in ring.waits) and not ring.kinds & _OTHERS:
            yield _finding(ring)


def _finding(ring: Ring) -> Finding:
    first = ring.waits[0]
    pid = first.waiter.pid
    greenlets = first.waiter.task_kind == "greenlet"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=_summary(ring),
        severity=Severity.CRITICAL,
        confidence=chains.confidence(ring.waits),
        culprit=first.waiter,
        victims=(
            *(wait.waiter for wait in ring.waits[1:]),
            *(wait.waiter for wait in ring.victims),
        ),
        resource=first.resource,
        chain=chains.links(ring.waits),
        evidence=chains.evidence(ring.waits),
        remedy=(
            f"restart pid {pid}: nothing inside it ends the ring; other tasks of the same loop go on "
            "meanwhile, so look first whether they matter",
            _cure(ring),
        ),
        check=(
            *phrases.check_stack(pid),
            *(() if greenlets else (f"python -m asyncio pstree {pid}  # Python 3.14 and newer",)),
        ),
    )


def _cure(ring: Ring) -> str:
    if len(ring.waits) == 1:
        return (
            "in the code: take the lock in the outermost function only, and let the inner ones expect it "
            "to be held; asyncio has no lock that its holder may take again, gevent has gevent.lock.RLock"
        )
    return (
        "in the code: let every task take these locks in one order; await nothing that needs a lock while "
        "you hold it; give the second wait a time limit (asyncio.timeout, gevent.Timeout)"
    )


def _summary(ring: Ring) -> str:
    first, *rest = ring.waits
    waiter = first.waiter
    parts = [f"pid {waiter.pid} ({waiter.process}): {phrases.thread(first.waiter)} {_hop(first)}"]
    parts.extend(f"{phrases.thread(wait.waiter)} {_hop(wait)}" for wait in rest)
    victims = f"; {phrases.waiting(len(ring.victims))} behind them" if ring.victims else ""
    return f"{', '.join(parts)}{victims}"


def _hop(wait: Wait) -> str:
    hold = chains.active(wait)[0]
    text = f"waits{phrases.at(wait.where)} for {chains.short(wait.resource)}"
    if hold.holder == wait.waiter:
        if "end" in wait.resource.kind:
            return f"{text}, which is itself"
        return f"{text}, which it has taken itself{phrases.at(hold.taken_at)}"
    if hold.taken_at is None:
        return text
    return f"{text}, which {phrases.thread(hold.holder)} has taken{phrases.at(hold.taken_at)}"
