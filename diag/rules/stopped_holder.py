"""L004: the holder of a lock does not run: it is stopped, in a tracing stop, or frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import halted, phrases
from diag.rules.lock_causes import LOCKS, End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Process
    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L004", "stopped-holder"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Others wait for a lock whose holder can not go on."""
    for cause in causes(snapshot, End.HALTED):
        process = snapshot.process(cause.hold.holder.pid)
        if process is not None:
            yield _finding(snapshot, cause, process)


def _finding(snapshot: Snapshot, cause: Cause, process: Process) -> Finding:
    looked_at = halted.is_looked_at(snapshot, process)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=_summary(cause, halted.state(snapshot, process)),
        severity=Severity.WARNING if looked_at else Severity.CRITICAL,
        confidence=Confidence.LIKELY if looked_at else cause.confidence,
        culprit=cause.hold.holder,
        victims=cause.actors,
        resource=cause.hold.resource,
        chain=cause.chain,
        evidence=(halted.evidence(process), *cause.evidence),
        against=(halted.AGAINST_A_LOOK,) if looked_at else (),
        remedy=tuple(halted.remedy(process)),
        check=(halted.check(process), *phrases.check_lock(cause.path[0].resource)),
    )


def _summary(cause: Cause, state: str) -> str:
    holder, last = phrases.who(cause.hold.holder), cause.path[-1]
    if last.resource.kind in LOCKS:
        held = f"holds the {cause.hold.resource.name}{phrases.at(cause.hold.taken_at)} but is {state}"
        return f"{holder} {held}; {phrases.waiting(len(cause.victims))} for it"
    # The lock's own holder runs, and waits for one that does not: a reader, a child, a server.
    more = len(cause.victims) - 1
    behind = f"; {phrases.waiting(more)} for the {cause.path[0].resource.name} behind it" if more > 0 else ""
    return f"{holder} is {state}; {phrases.who(last.waiter)} {phrases.hop(last)}{behind}"
