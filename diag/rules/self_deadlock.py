"""L001: a thread waits for a file lock that it, or its own process, holds already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Finding, Severity
from diag.rules import phrases
from diag.rules.lock_causes import End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L001", "self-deadlock"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A thread waits for a file lock that its own process holds."""
    for cause in causes(snapshot, End.SELF):
        wait = cause.path[0]
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=_summary(cause, wait),
            severity=Severity.CRITICAL,
            confidence=cause.confidence,
            culprit=wait.waiter,
            victims=cause.actors,
            resource=wait.resource,
            chain=cause.chain,
            evidence=tuple(dict.fromkeys((*cause.evidence, *_frames(wait)))),
            against=tuple(_against(snapshot, wait)),
            remedy=tuple(_remedy(cause, wait)),
            check=(
                *phrases.check_lock(wait.resource),
                *phrases.check_stack(wait.waiter.pid),
            ),
        )


def _summary(cause: Cause, wait: Wait) -> str:
    taken = wait.retaken or cause.hold.taken_at
    handler = f" in a {wait.handler.name}" if wait.handler else ""
    sender = wait.handler.sender if wait.handler else None
    sent = f"; {phrases.who(sender)} keeps sending the signal" if sender else ""
    inherited = f"holds itself through the descriptor it inherited from pid {cause.hold.taker}, taken"
    own = inherited if cause.hold.taker else "took itself"
    victims = f"; {phrases.waiting(len(cause.actors))} for it" if cause.victims else ""
    return (
        f"{phrases.who(wait.waiter)} {phrases.verb(wait)} the {wait.resource.name}{handler}"
        f"{phrases.at(wait.where)}, which it {own}{phrases.at(taken)}{sent}{victims}"
    )


def _frames(wait: Wait) -> Iterator[Evidence]:
    source = f"py-spy dump --pid {wait.waiter.pid}"
    if wait.retaken:
        yield Evidence(source=source, text=f"taken: {wait.retaken}")
    if wait.handler:
        yield Evidence(source=source, text=f"{wait.handler.name}: {wait.handler.where}")
        if wait.handler.sender and wait.handler.sender.where:
            sender = wait.handler.sender
            yield Evidence(source=f"py-spy dump --pid {sender.pid}", text=f"sends signals: {sender.where}")
    if wait.where:
        yield Evidence(source=source, text=f"asked for again: {wait.where}")


def _against(snapshot: Snapshot, wait: Wait) -> Iterator[str]:
    process = snapshot.process(wait.waiter.pid)
    if process and process.threads > 1 and not wait.retaken:
        yield (
            f"the process has {process.threads} threads, and the stacks do not show which one took the "
            "lock: one that still runs could release it"
        )
    if wait.how.value == "polling":
        yield "the thread polls, and may give up if it has a time limit"


def _remedy(cause: Cause, wait: Wait) -> Iterator[str]:
    yield phrases.kill_advice(wait.waiter, wait.resource)
    if wait.handler:
        yield (
            "in the code: do nothing in the signal handler but set a flag (or write to a pipe), and log "
            "and lock in the main loop"
        )
        if wait.handler.sender:
            yield "in the code: let the parent signal once and then wait for its children"
    else:
        yield (
            "in the code: take the lock once and pass that fact on, or use one lock object that knows it "
            "is held (re-entrant); a second open() of the file makes a second, conflicting owner"
        )
    if cause.victims:
        yield f"the others ({phrases.others(cause.actors)}) go on by themselves once the lock is free"
