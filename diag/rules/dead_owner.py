"""T004: a lock that processes share is taken, and whoever took it has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T004", "dead-owner"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Processes wait for a shared lock that none of those who have it counts as its own."""
    graph = chains.Graph(snapshot)
    by_lock: dict[str, list[Wait]] = {}
    for wait in graph.stuck.values():
        if wait.resource.kind == "shared-lock" and not chains.active(wait):
            by_lock.setdefault(wait.resource.key, []).append(wait)
    for waits in by_lock.values():
        yield _finding(graph, waits)


def _finding(graph: Graph, waits: list[Wait]) -> Finding:
    first = waits[0]
    victims = (*(wait.waiter for wait in waits[1:]), *graph.victims(waits))
    more = f"; {phrases.waiting(len(victims))} with it" if victims else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {first.resource.name}, which is "
            f"taken, but by none of the living processes that have it: its owner has died{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.CERTAIN,
        culprit=first.waiter,
        victims=victims,
        resource=first.resource,
        chain=chains.links([first]),
        evidence=chains.evidence(waits),
        remedy=(
            "end all processes that share the lock, and start them again: nobody can release it from "
            "outside; find out what killed the owner (diag segfaults, the kernel's log of killed processes)",
            "in the code: use a lock that the kernel releases when its owner dies (flock, lockf, a robust "
            "mutex), or concurrent.futures.ProcessPoolExecutor, which notices that a worker has died",
        ),
        check=(*phrases.check_stack(first.waiter.pid), "dmesg | grep -i -e killed -e segfault"),
    )
