"""T001: threads of one process wait for each other's locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T001", "thread-deadlock"
# Threads may use a lock that processes share as well; queued work is T005, module locks are T008.
KINDS = (chains.IN_PROCESS - {"queued-work", "module-lock"}) | {"shared-lock"}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Threads of one process form a ring of in-process locks and joins."""
    graph = chains.Graph(snapshot)
    for ring in graph.rings():
        if len(ring.waits) > 1 and len(ring.pids) == 1 and ring.kinds <= KINDS:
            yield _finding(ring)


def _finding(ring: Ring) -> Finding:
    first = ring.waits[0]
    pid = first.waiter.pid
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
            f"kill -KILL {pid}: nothing inside the process can end it; its work in progress is lost, and "
            "a handler for SIGTERM may hang on the same locks",
            "in the code: let every thread take these locks in one order, or take the second one with a "
            "time limit and give up the first when that fails",
        ),
        check=phrases.check_stack(pid),
    )


def _summary(ring: Ring) -> str:
    first, *rest = ring.waits
    parts = [f"{phrases.who(first.waiter)} {_hop(first)}"]
    parts.extend(f"{phrases.thread(wait.waiter)} {_hop(wait)}" for wait in rest)
    victims = f"; {phrases.waiting(len(ring.victims))} behind them" if ring.victims else ""
    return f"{', '.join(parts)}{victims}"


def _hop(wait: Wait) -> str:
    hold = chains.active(wait)[0]
    name = f"waits{phrases.at(wait.where)} for {chains.short(wait.resource)}"
    if wait.resource.kind == "thread":
        return name
    return f"{name}, which {phrases.thread(hold.holder)} has taken{phrases.at(hold.taken_at)}"
