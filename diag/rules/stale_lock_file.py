"""L008: a lock by existence (a pid file, a soft lock) whose owner is dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Link, Severity
from diag.rules import phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot, SoftLock

CODE, SLUG = "L008", "stale-lock-file"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The file says who owns it, and that process has ended; or nobody can own it, and others wait."""
    for soft in snapshot.soft_locks:
        waiters = tuple(
            wait
            for wait in snapshot.waits
            if wait.stuck and wait.resource.kind == "soft-lock" and wait.resource.path == soft.path
        )
        unowned = [wait for wait in waiters if not wait.holds]
        if soft.alive is False or (soft.abandoned and unowned):
            yield _finding(soft, waiters)


def _finding(soft: SoftLock, waiters: tuple[Wait, ...]) -> Finding:
    waiting = f"; {phrases.waiting(len(waiters))} for it" if waiters else ""
    severity = Severity.WARNING if soft.only_exists else Severity.INFO
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{soft.path} {_owner(soft)}{waiting}",
        severity=Severity.CRITICAL if waiters else severity,
        confidence=_confidence(soft, waiters),
        victims=tuple(wait.waiter for wait in waiters),
        resource=soft.resource,
        chain=tuple(
            Link(waiter=wait.waiter, waits_for=wait.resource, held_by=(), where=wait.where)
            for wait in waiters[:1]
        ),
        evidence=(*_owner_evidence(soft), *(item for wait in waiters for item in wait.evidence)),
        against=tuple(_against(soft, waiters)),
        remedy=(
            f"make sure that no process of the service lives, then remove it: rm {phrases.quote(soft.path)}",
            "in the code: prefer a kernel lock (flock) on a file that stays: it is freed when its owner dies",
        ),
        check=(f"cat {phrases.quote(soft.path)}", *([f"ls -d /proc/{soft.owner}"] if soft.owner else [])),
    )


def _owner(soft: SoftLock) -> str:
    if soft.owner is None:
        return "names no owner, and no process of this host has it open"
    fate = "now belongs to a process that began later" if soft.reused else "does not exist"
    return f"names pid {soft.owner} as its owner, which {fate}"


def _owner_evidence(soft: SoftLock) -> tuple[Evidence, ...]:
    if soft.owner is None:
        return (
            Evidence(source=soft.path, text="empty"),
            Evidence(source="/proc/*/fd", text="nobody has it open"),
        )
    return (
        Evidence(source=soft.path, text=soft.text),
        Evidence(source=f"/proc/{soft.owner}", text="reused" if soft.reused else "no such process"),
    )


def _confidence(soft: SoftLock, waiters: tuple[Wait, ...]) -> Confidence:
    """Certain only where somebody waits for the file of a pid that is gone."""
    if soft.owner is None:
        return Confidence.POSSIBLE
    if waiters and not soft.reused and all(wait.certain for wait in waiters):
        return Confidence.CERTAIN
    return Confidence.LIKELY if soft.only_exists or waiters else Confidence.POSSIBLE


def _against(soft: SoftLock, waiters: tuple[Wait, ...]) -> Iterator[str]:
    if soft.owner is None:
        yield "its owner may live and have closed it, or live on another host that shares the file"
        return
    if not soft.only_exists and not waiters:
        yield "programs that lock with flock leave such a file behind on purpose, and it does no harm"
    if soft.reused:
        yield "if the clock was set forward since the file was written, its owner only seems to be younger"
    yield "the owner may live in another pid namespace or on another host, where its pid is another's"
