"""C002: the interpreter died on an object that an extension over-released."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings, crash_victims, known
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C002"
SLUG = "refcount-corruption"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """CPython found an object whose references do not add up."""
    for group in snapshot.crash_groups:
        if causes.refcounts(group):
            yield _finding(group)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup) -> Finding:
    crashed = _crashed(group)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{_died(group)}, {causes.times(group)}: "
            "a C extension releases references it does not own"
            f"{', or overwrites objects' if crashed else ''}; where it died is the victim, not the culprit"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if crashed else Confidence.LIKELY,
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=(
            "the line does not tell which extension it was",
            *(("the same shows where other code has overwritten the object's memory",) if crashed else ()),
            *causes.forged(group),
        ),
        remedy=(
            "Now: update the extensions, and the server that runs Python; keep a core of the next death.",
            *known.words(group),
            "In the code: look for Py_DECREF of borrowed references in your extensions; run the "
            "tests under a "
            "debug build of Python, which checks each count.",
        ),
        check=(
            "diag core CORE   (which extension ran beside it)",
            "python3-dbg -X dev ...",
            *causes.look_up(group),
        ),
    )


def _crashed(group: CrashGroup) -> bool:
    """Whether only the place of a crash tells, and not the interpreter's own word."""
    return causes.faulted(group) or crash_victims.in_collector(group)


def _died(group: CrashGroup) -> str:
    if _crashed(group):
        return (
            f"{causes.program(group)} crashed as Python visited or released objects, in {fault.place(group)} "
            f"({fault.what(group.sample)}){causes.in_thread(group)}"
        )
    said = next(
        (str(text) for event in group.events if (text := event.detail("error_text"))),
        group.sample.text.strip(),
    )
    return f"CPython stopped on an object whose reference count is wrong ({said})"
