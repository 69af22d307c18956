"""T004: a lock that processes share is taken, and whoever took it has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T004", "dead-owner"
_COUNTS = "a semaphore that counts work, and is no lock, looks the same once its last taker has ended"
_UNDO = (
    "in the code: take and release with SEM_UNDO (semop(2)), so that the kernel gives the semaphore back "
    "when its owner dies"
)
_BETTER = (
    "in the code: use a lock that the kernel releases when its owner dies (flock, lockf, a robust mutex), or "
    "concurrent.futures.ProcessPoolExecutor, which notices that a worker has died"
)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Processes wait for a shared lock that none of those who have it counts as its own."""
    graph = chains.Graph(snapshot)
    by_lock: dict[str, list[Wait]] = {}
    for wait in graph.stuck.values():
        if (wait.resource.kind == "shared-lock" and not chains.active(wait)) or _gone(wait):
            by_lock.setdefault(wait.resource.key, []).append(wait)
    for waits in by_lock.values():
        yield _finding(graph, waits)


def _gone(wait: Wait) -> Actor | None:
    """Whoever took a SysV semaphore last, if that process is gone; the kernel names nobody else."""
    if wait.resource.kind != "sysv-semaphore":
        return None
    return next((hold.holder for hold in chains.active(wait) if not hold.holder.started), None)


def _finding(graph: Graph, waits: list[Wait]) -> Finding:
    first = waits[0]
    gone = _gone(first)
    victims = (*(wait.waiter for wait in waits[1:]), *graph.victims(waits))
    if gone:
        victims = (first.waiter, *victims)
    more = f"; {phrases.waiting(len(victims) - bool(gone))} with it" if len(victims) > bool(gone) else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {first.resource.name}, which "
            f"{_whose(gone)}{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.LIKELY if gone else Confidence.CERTAIN,
        culprit=gone or first.waiter,
        victims=victims,
        resource=first.resource,
        chain=chains.links([first]),
        evidence=chains.evidence(waits),
        against=(_COUNTS,) if gone else (),
        remedy=(
            "end all processes that share the lock, and start them again: nobody can release it from "
            "outside; find out what killed the owner (diag segfaults, the kernel's log of killed processes)",
            _UNDO if gone else _BETTER,
        ),
        check=(
            *(("ipcs -s; cat /proc/sysvipc/sem",) if gone else ()),
            *phrases.check_stack(first.waiter.pid),
            "dmesg | grep -i -e killed -e segfault",
        ),
    )


def _whose(gone: Actor | None) -> str:
    if gone:
        return f"pid {gone.pid} took last and has not given back: that process has ended"
    return "is taken, but by none of the living processes that have it: its owner has died"
