"""C001: a database client dies in code that one connection's threads must not share, or will."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Library, Severity
from diag.rules import core_findings, known, python_dumps
from diag.rules import crash_causes as causes
from diag.rules import shared_connection_live as live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C001"
SLUG = "shared-connection"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Threads share a connection of a database client that allows one thread a connection.

    Told by a crash inside the client, and by threads that are seen at it before any crash.
    """
    seen = tuple(live.check(snapshot))
    groups = filter(causes.shared_connection, snapshot.crash_groups)
    for faces in causes.together(groups, lambda group: group.program):
        yield _finding(faces, seen)
    of_core = tuple(core_findings.of(snapshot, CODE, SLUG))
    yield from of_core or seen


def _finding(faces: tuple[CrashGroup, ...], seen: tuple[Finding, ...]) -> Finding:
    group = faces[0]
    siblings = [finding for finding in seen if _sibling(finding, group)]
    confidence, against = _sure(faces, siblings)
    sure = {Confidence.CERTAIN: "", Confidence.LIKELY: "probably ", Confidence.POSSIBLE: "possibly "}[
        confidence
    ]
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{causes.program(group)} crashed in the database client {_where(group)}, "
            f"{causes.times(group)}{causes.elsewhere(faces)}: "
            f"{sure}one connection is shared between threads"
        ),
        severity=Severity.CRITICAL,
        confidence=confidence,
        culprit=causes.culprit(group) or _package(group),
        victims=tuple(victim for sibling in siblings for victim in sibling.victims) or causes.victims(group),
        evidence=(*causes.evidence(*faces), *(item for sibling in siblings for item in sibling.evidence)),
        against=(*against, *causes.forged(group)),
        remedy=(*_REMEDY, *known.references(group)),
        check=(
            f"py-spy dump --locals --pid PID   (of a living {causes.program(group)}: the same Connection "
            "address in two threads)",
            f"diag stacks PID   (of a living {causes.program(group)}: reports a connection in use by "
            "two threads)",
            *causes.look_up(group),
        ),
    )


def _where(group: CrashGroup) -> str:
    if caller := group.sample.detail("called_by"):
        return f"{caller}: it called the allocator last, which found its heap damaged"
    if (died := python_dumps.in_client(group)) is None:
        return f"{fault.place(group)} ({fault.what(group.sample)}{causes.in_thread(group)})"
    which = {"other": ", not in the main thread", "main": ", in the main thread"}
    thread = which.get(python_dumps.thread(group.sample) or "", "")
    said = f"{python_dumps.package(died)} ({fault.what(group.sample)}{thread})"
    return f"{said}, while Python ran {python_dumps.path(died)}"


def _package(group: CrashGroup) -> Library | None:
    """Name the package, where only the interpreter's own words tell of the crash."""
    died = python_dumps.in_client(group)
    return Library(library=python_dumps.package(died), symbol=died.frames[0].function) if died else None


def _sure(faces: tuple[CrashGroup, ...], siblings: list[Finding]) -> tuple[Confidence, tuple[str, ...]]:
    if any(sibling.confidence is Confidence.CERTAIN for sibling in siblings):
        return Confidence.CERTAIN, ()
    if any(map(causes.forged, faces)):
        return Confidence.POSSIBLE, ()
    told = {fault.thread(event) or python_dumps.thread(event) for group in faces for event in group.events}
    if "other" in told:
        return Confidence.LIKELY, ()
    if "main" in told:
        return Confidence.POSSIBLE, (
            "the main thread faulted: a program without other threads cannot share a connection "
            "between threads",
        )
    return Confidence.POSSIBLE, ("whether the main thread or another one faulted cannot be told",)


def _sibling(finding: Finding, group: CrashGroup) -> bool:
    """Whether a living process is of the kind that crashed: the kernel prints 15 bytes of a thread's name."""
    return any(victim.process[:15] == group.program for victim in finding.victims)


_REMEDY = (
    "Now: run the workers with one thread each (celery --concurrency=1 or the prefork pool without "
    "threads of "
    "its own), or let only one thread query; it costs throughput, and stops the crashes.",
    "In the code: open a connection per thread (threading.local, or a pool that lends a connection "
    "to one thread "
    "at a time); never hand a connection or cursor to another thread, an executor or a module-level global.",
)
