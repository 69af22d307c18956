"""T002: a thread waits for a lock that it has taken itself and that cannot be taken twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases, thread_deadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T002", "lock-reentry"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A thread holds, in an outer frame, the in-process lock that it waits for."""
    for ring in chains.Graph(snapshot).rings():
        if len(ring.waits) == 1 and ring.kinds <= thread_deadlock.KINDS:
            yield _finding(ring)


def _finding(ring: Ring) -> Finding:
    wait = ring.waits[0]
    pid = wait.waiter.pid
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=_summary(ring, wait),
        severity=Severity.CRITICAL,
        confidence=chains.confidence(ring.waits),
        culprit=wait.waiter,
        victims=tuple(victim.waiter for victim in ring.victims),
        resource=wait.resource,
        chain=chains.links(ring.waits),
        evidence=(*chains.evidence(ring.waits), *_interruption(wait)),
        remedy=tuple(_remedy(wait)),
        check=phrases.check_stack(pid),
    )


def _summary(ring: Ring, wait: Wait) -> str:
    handler = f" in a {wait.handler.name}" if wait.handler else ""
    taken = phrases.at(wait.retaken or chains.active(wait)[0].taken_at)
    victims = f"; {phrases.waiting(len(ring.victims))} behind it" if ring.victims else ""
    name = chains.short(wait.resource)
    return (
        f"{phrases.who(wait.waiter)} waits for {name}{handler}{phrases.at(wait.where)}, "
        f"which it has taken itself{taken}{victims}"
    )


def _interruption(wait: Wait) -> Iterator[Evidence]:
    if wait.handler:
        source = f"py-spy dump --locals --pid {wait.waiter.pid}"
        yield Evidence(source=source, text=f"{wait.handler.name}: {wait.handler.where}")


def _remedy(wait: Wait) -> Iterator[str]:
    yield (
        f"kill -KILL {wait.waiter.pid}: the thread cannot go on, and no other can release the lock for it; "
        "the process's work in progress is lost"
    )
    if wait.handler:
        yield (
            "in the code: do nothing in a signal handler or finalizer but set a flag, write to a pipe or put "
            "into a queue.SimpleQueue; take locks in the main loop only"
        )
    else:
        yield (
            "in the code: call the function that needs the lock from outside of the one that has it, or make "
            "the lock a threading.RLock if the state it guards allows that"
        )
