"""L005: the holder of a lock waits for something else itself; the end of the chain is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import phrases
from diag.rules.lock_causes import End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Evidence
    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L005", "stuck-holder"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Somebody waits for a lock whose holder waits for something that is no file lock, or further on."""
    for cause in causes(snapshot, End.STUCK):
        yield _finding(cause)
    for cause in causes(snapshot, End.IDLE):
        if len(cause.path) > 1:
            yield _finding(cause)


def _finding(cause: Cause) -> Finding:
    last = cause.path[-1]
    culprit = last.waiter if cause.end is End.STUCK else cause.hold.holder
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=_summary(cause),
        severity=Severity.WARNING if cause.timed or cause.end is End.IDLE else Severity.CRITICAL,
        confidence=cause.confidence,
        culprit=culprit,
        victims=cause.actors,
        resource=cause.path[0].resource,
        chain=cause.chain,
        evidence=tuple(dict.fromkeys((*last.evidence, *cause.evidence, *_doing(cause)))),
        against=("the end of the chain may be slow rather than stuck: look again in a minute",),
        remedy=(
            f"look at the end of the chain: diag stacks {culprit.pid}",
            "in the code: do not wait for others (network, children, pipes, a second lock) while holding "
            "a file lock, or wait with a time limit and release the lock when it runs out",
        ),
        check=(
            *phrases.check_stack(culprit.pid),
            *phrases.check_lock(cause.path[0].resource),
        ),
    )


def _doing(cause: Cause) -> Iterator[Evidence]:
    if cause.last and cause.last.wait:
        yield from cause.last.wait.evidence


def _summary(cause: Cause) -> str:
    first, *rest = cause.path
    parts = [f"{phrases.who(first.waiter)} {phrases.verb(first)} the {first.resource.name}"]
    parts.extend(f"held up by {phrases.who(wait.waiter)}, which {phrases.hop(wait)}" for wait in rest)
    if cause.end is End.IDLE:
        doing = (
            phrases.does(cause.last.wait.words) if cause.last and cause.last.wait else "goes on without it"
        )
        parts.append(f"held up by {phrases.who(cause.hold.holder)}, which {doing}")
    more = len(cause.actors) - len({wait.waiter.pid for wait in cause.path})
    victims = f"; {phrases.waiting(more)} behind it" if more > 0 else ""
    return ", ".join(parts) + victims
