"""T011: processes wait in a ring for locks that they share, or for each other to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T011", "shared-lock-cycle"
_KINDS = chains.IN_PROCESS | chains.TASKS | {"shared-lock", "child"}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Processes form a ring of locks in shared memory, their own locks, and children to end."""
    for ring in chains.Graph(snapshot).rings():
        if len(ring.pids) > 1 and "shared-lock" in ring.kinds and ring.kinds <= _KINDS:
            yield _finding(ring)


def _finding(ring: Ring) -> Finding:
    first = next(wait for wait in ring.waits if wait.resource.kind == "shared-lock")
    waits = chains.starting_at(ring.waits, first.waiter)
    some = phrases.others([wait.waiter for wait in waits])
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=chains.hops(waits),
        severity=Severity.CRITICAL,
        confidence=chains.confidence(waits),
        culprit=first.waiter,
        victims=(*(wait.waiter for wait in waits[1:]), *(wait.waiter for wait in ring.victims)),
        resource=first.resource,
        chain=chains.links(waits),
        evidence=chains.evidence(waits),
        remedy=(
            f"end all of them ({some}) and start them again: a process that is killed while it has such a "
            "lock leaves it taken for ever",
            "in the code: take shared locks in one order in every process; let go of them before joining a "
            "child that may need one; or take them with a time limit",
        ),
        check=phrases.check_stack(*sorted(ring.pids)),
    )
