"""C003: a read or write near address 0, or through a pointer that was NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.crash import LOW
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings, crash_victims, known
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C003"
SLUG = "null-dereference"


_EXPLAIN = (causes.shared_connection, causes.heap, causes.refcounts, causes.fork_unsafe)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Code followed a NULL pointer; the address is the offset of the field it wanted."""
    sharers = causes.sharers(snapshot.crash_groups)
    told: set[str | None] = set()
    for group in filter(causes.null, snapshot.crash_groups):
        # Where the cause is known, this only says how it showed, and once is enough.
        explained = any(cause(group) for cause in _EXPLAIN)
        if not explained or group.program not in told:
            yield _finding(group, explained=explained, doubtful=group.program in sharers)
        if explained:
            told.add(group.program)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup, *, explained: bool, doubtful: bool) -> Finding:
    sample = group.sample
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{causes.program(group)} followed a NULL pointer in {fault.place(group)}: {fault.what(sample)} "
            f"({_meant(group)}){causes.in_thread(group)}, {causes.times(group)}"
        ),
        severity=Severity.INFO if explained else Severity.WARNING if doubtful else Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else _sure(group),
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=(*_number(group), *crash_victims.notes(group), *causes.forged(group)),
        remedy=(
            "Now: find out what the crashed requests or jobs had in common (their time is in the "
            "evidence), and "
            "keep a core of the next one: ulimit -c unlimited, or coredumpctl.",
            *known.words(group),
            "In the code: look at the function at this offset for a pointer that may be NULL: a call "
            "that failed "
            "unnoticed, an object used before it is made or after it was closed, also by another thread.",
        ),
        check=causes.look_up(group),
    )


def _sure(group: CrashGroup) -> Confidence:
    return Confidence.LIKELY if _number(group) else Confidence.CERTAIN


def _number(group: CrashGroup) -> tuple[str, ...]:
    if causes.through_null(group) or (group.sample.null_offset or 0) < LOW:
        return ()
    return ("a number that was taken for a pointer would look the same",)


def _meant(group: CrashGroup) -> str:
    """Say what was wanted there: as the instruction shows, else as the address lets one think."""
    if group.code and group.code.instruction and (words := group.code.instruction.words):
        return words
    field = group.sample.null_offset
    return f"a field at offset {field:#x} of a structure" if field else "the pointer itself, or a first field"
