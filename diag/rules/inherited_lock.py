"""L003: a lock lives on in a descriptor that was inherited; who took it is gone or has closed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import phrases
from diag.rules.lock_causes import End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L003", "inherited-lock"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The keeper of a lock is not who took it, and others wait."""
    for cause in causes(snapshot, End.INHERITED):
        keeper, resource = cause.hold.holder, cause.hold.resource
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=_summary(cause),
            severity=Severity.CRITICAL,
            confidence=cause.confidence if cause.hold.taker else Confidence.LIKELY,
            culprit=keeper,
            victims=cause.actors,
            resource=resource,
            chain=cause.chain,
            evidence=cause.evidence,
            against=(
                "a daemon that takes its lock before it forks into the background looks the same; then "
                "the lock is held on purpose, and the waiters should not wait",
            ),
            remedy=(
                f"end pid {keeper.pid} if it is not needed: the lock is free when its last copy of the "
                "descriptor is closed",
                "in the code: open lock files close-on-exec (O_CLOEXEC; Python 3.4+ does) and close them "
                "in forked children, or release with an explicit LOCK_UN before the taker ends",
            ),
            check=(
                f"ls -l /proc/{keeper.pid}/fd/{cause.hold.fd}; cat /proc/{keeper.pid}/fdinfo/{cause.hold.fd}",
                *phrases.check_lock(resource),
            ),
        )


def _summary(cause: Cause) -> str:
    hold = cause.hold
    fate = "no longer has it open" if hold.taker_lives else "is gone"
    took = "who took it is gone or in another pid namespace"
    if hold.taker:
        took = f"pid {hold.taker}, which took it, {fate}"
    count = len(cause.actors)
    return (
        f"{phrases.who(hold.holder)} keeps the {hold.resource.name} alive through the inherited "
        f"descriptor {hold.fd}; {took}; "
        f"{'1 process waits' if count == 1 else f'{count} processes wait'} for it"
    )
