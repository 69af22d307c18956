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
_LOOKS_ALIKE = {
    False: "a daemon that takes its lock before it forks into the background looks the same; then "
    "the lock is held on purpose, and the waiters should not wait",
    True: "a helper that took the lock for this process, on a descriptor of its own, looks the same "
    "(flock FD in a shell); then it is held on purpose",
}
_IN_THE_CODE = {
    False: "in the code: open lock files close-on-exec (O_CLOEXEC; Python 3.4+ does) and close them "
    "in forked children, or release with an explicit LOCK_UN before the taker ends",
    True: "in the code: close a descriptor that came in a message (SCM_RIGHTS) as soon as its work is done, "
    "or release with an explicit LOCK_UN before it is sent",
}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The keeper of a lock is not who took it, and others wait."""
    for cause in causes(snapshot, End.INHERITED):
        keeper, resource = cause.hold.holder, cause.hold.resource
        is_read = cause.hold.taker is not None and not cause.hold.handed  # that it was handed is inferred
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=_summary(cause),
            severity=Severity.CRITICAL,
            confidence=cause.confidence if is_read else Confidence.LIKELY,
            culprit=keeper,
            victims=cause.actors,
            resource=resource,
            chain=cause.chain,
            evidence=cause.evidence,
            against=(_LOOKS_ALIKE[cause.hold.handed],),
            remedy=(
                f"end pid {keeper.pid} if it is not needed: the lock is free when its last copy of the "
                "descriptor is closed",
                _IN_THE_CODE[cause.hold.handed],
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
        f"{phrases.who(hold.holder)} keeps the {hold.resource.name} alive through "
        f"{'descriptor' if hold.handed else 'the inherited descriptor'} {hold.fd}"
        f"{', which it was handed' if hold.handed else ''}; {took}; "
        f"{'1 process waits' if count == 1 else f'{count} processes wait'} for it"
    )
