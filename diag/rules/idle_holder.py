"""L006: the holder keeps a lock while it sleeps, idles or works, and others wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import How
from diag.rules import phrases
from diag.rules.lock_causes import End, causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Evidence
    from diag.model.snapshot import Snapshot
    from diag.rules.lock_causes import Cause

CODE, SLUG = "L006", "idle-holder"
_MOST_CHECKED = 3
_IN_THE_CODE = (
    "in the code: hold the lock only around what it protects, never over sleeps, waits for work or network "
    "calls"
)
_IN_SQLITE = (
    "in the code: commit before sleeping or calling others, read cursors to their end or close them, and "
    "begin what will write with BEGIN IMMEDIATE; a longer busy timeout only hides it"
)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Others wait for a lock whose holder could release it, but does something else."""
    for cause in causes(snapshot, End.IDLE):
        if len(cause.path) > 1:
            continue  # L005 tells that story from its beginning
        if _takes_turns(cause):
            continue
        holder = cause.hold.holder
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=(
                f"{phrases.who(holder)} holds the {cause.hold.resource.name}{_transaction(cause)}"
                f"{phrases.also(cause.also)}"
                f"{', taken' + phrases.at(cause.hold.taken_at) if cause.hold.taken_at else ''}, while it "
                f"{_doing(cause)}; {_beside(cause)}{phrases.waiting(len(cause.actors))} for it"
            ),
            severity=Severity.WARNING,
            confidence=_confidence(cause),
            culprit=holder,
            victims=cause.actors,
            resource=cause.hold.resource,
            chain=cause.chain,
            evidence=(*cause.evidence, *_evidence(cause)),
            against=tuple(_against(cause)),
            remedy=(
                _remedy(cause),
                *_others(cause),
                _IN_SQLITE if cause.hold.resource.part else _IN_THE_CODE,
            ),
            check=(
                *phrases.check_stack(holder.pid, *(other.pid for other in cause.beside[:_MOST_CHECKED])),
                *phrases.check_lock(cause.hold.resource),
            ),
        )


def _beside(cause: Cause) -> str:
    """Name the readers that hold it as well: the writer waits for the last of them."""
    if not cause.beside:
        return ""
    return f"{phrases.others(cause.beside)} hold{'s' if len(cause.beside) == 1 else ''} it, too; "


def _others(cause: Cause) -> Iterator[str]:
    if cause.beside:
        yield f"the same for {phrases.others(cause.beside)}: the lock is free when the last of them lets go"


def _transaction(cause: Cause) -> str:
    """What SQLite's name of a lock means: a transaction that only reads, or one that writes, is open."""
    resource = cause.hold.resource
    if not resource.part:
        return ""
    if resource.part == "EXCLUSIVE":
        return " (a transaction that writes is open, or its connection has locking_mode=exclusive)"
    return f" (its transaction, which {'writes' if resource.mode == 'write' else 'reads'}, is open)"


def _remedy(cause: Cause) -> str:
    also = f"ending it, and{removal}," if (removal := phrases.removal(cause.hold.resource)) else "ending it"
    return f"let pid {cause.hold.holder.pid} finish or release it; {also} frees the lock and loses its work"


def _takes_turns(cause: Cause) -> bool:
    """Whether workers take turns to accept clients: whoever has the lock waits for the next one.

    The others ask for the lock where the holder took it, or, without lines of code, are its own copies.
    """
    doing = cause.last.wait if cause.last else None
    if doing is None or doing.resource.kind != "socket" or doing.how is not How.IDLE:
        return False
    taken, holder = cause.hold.taken_at, cause.hold.holder
    return all(
        wait.where == taken if taken and wait.where else wait.waiter.process == holder.process
        for wait in cause.victims
    )


def _doing(cause: Cause) -> str:
    seen = cause.last
    place = phrases.at(cause.hold.holder.where)
    if cause.hold.holder.task:
        return f"has {phrases.thread(cause.hold.holder)} wait{place}"
    if seen and seen.wait:
        return phrases.does(seen.wait.words)
    if seen and seen.thread.state == "R":
        return f"works{place}"
    return f"does something else{place}"


def _against(cause: Cause) -> Iterator[str]:
    yield "the holder may still need the lock: only its code can tell"
    if cause.hold.resource.lock == "lease":
        yield "the kernel takes a lease away by itself after /proc/sys/fs/lease-break-time seconds"
    if cause.last and cause.last.wait and cause.last.wait.resource.kind == "unknown":
        yield "what the holder does is hidden: it may be stuck itself; look again as root"
    if _unread(cause):
        yield "its Python stack could not be read: who sleeps may be waiting for something itself, by polling"
    if not cause.sure:
        yield "the process has several threads, and nothing shows which of them has the lock"


def _confidence(cause: Cause) -> Confidence:
    if cause.confidence is Confidence.CERTAIN and _unread(cause):
        return Confidence.LIKELY
    return cause.confidence


def _unread(cause: Cause) -> bool:
    """Whether the holder runs Python, and its stack is missing."""
    seen = cause.last
    if seen is None or seen.stack is not None:
        return False
    return "python" in (seen.process.exe or seen.process.name).rpartition("/")[2]


def _evidence(cause: Cause) -> tuple[Evidence, ...]:
    return cause.last.wait.evidence if cause.last and cause.last.wait else ()
