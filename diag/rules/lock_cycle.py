"""L002: threads or processes wait for each other in a ring that includes a file lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.model.graph import How
from diag.rules import phrases
from diag.rules.lock_causes import End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L002", "lock-cycle"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Waiters form a ring: each holds what the one before it wants."""
    for cause in causes(snapshot, End.RING):
        if any(wait.resource.kind == "database-lock" for wait in cause.path):
            continue  # D003 tells that
        first = cause.path[0]
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=_summary(cause),
            severity=Severity.WARNING if cause.timed else Severity.CRITICAL,
            confidence=cause.confidence,
            culprit=first.waiter,
            victims=(*(wait.waiter for wait in cause.path[1:]), *cause.actors),
            resource=first.resource,
            chain=cause.chain,
            evidence=cause.evidence,
            against=tuple(_against(cause)),
            remedy=(
                f"kill -KILL {first.waiter.pid} (or any other of the ring) breaks it: the others go on, "
                "the work of the killed one is lost",
                "in the code: let everybody take the locks in the same order, or take the second one "
                "without blocking and give up the first when that fails",
            ),
            check=(
                "grep -e '->' /proc/locks",
                *phrases.check_stack(*(wait.waiter.pid for wait in cause.path)),
            ),
        )


def _against(cause: Cause) -> Iterator[str]:
    if cause.timed:
        yield "one of the ring waits with a time limit: it may give up and let the others go on"
    if any(wait.how is How.POLLING for wait in cause.path):
        yield "one of the ring polls, and may give up if it has a time limit"
    if not cause.sure:
        yield "a process of the ring has several threads, and nothing shows which of them has the lock"


def _summary(cause: Cause) -> str:
    hops = [f"{phrases.who(wait.waiter)}, which {phrases.hop(wait)}" for wait in cause.path]
    ring = ", held up by ".join([*hops, phrases.who(cause.path[0].waiter)]).replace(", which", "", 1)
    victims = f"; {phrases.waiting(len(cause.victims))} behind them" if cause.victims else ""
    return f"{ring}{victims}"
