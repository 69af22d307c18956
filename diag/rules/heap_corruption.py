"""C006: the allocator found its own data destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings, known
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C006"
SLUG = "heap-corruption"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The C library aborted a process whose heap was damaged earlier, by other code."""
    for group in snapshot.crash_groups:
        if causes.heap(group):
            yield _finding(group)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup) -> Finding:
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{_died(group)}, {causes.times(group)}: the code that damaged it ran earlier; the allocator is "
            "only the victim"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.LIKELY,
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=("the line does not tell which code wrote beyond its memory or freed it twice",),
        remedy=(
            "Now: look for two copies of one library in the process (two OpenSSL, libxml2, allocators): "
            "pip install --no-binary for one of them often ends it.",
            *known.words(group),
            "In the code: run the job under valgrind or AddressSanitizer; MALLOC_CHECK_=3 and "
            "MALLOC_PERTURB_=165 "
            "make glibc notice sooner.",
        ),
        check=(
            "grep -E '\\.so' /proc/PID/maps | awk '{print $6}' | sort -u   (of a living sibling)",
            *causes.look_up(group),
        ),
    )


def _died(group: CrashGroup) -> str:
    said = next((str(text) for event in group.events if (text := event.detail("error_text"))), None)
    if said:
        caller = group.sample.detail("called_by")
        last = f"; {caller} called it last" if caller else ""
        return f"glibc stopped {causes.program(group)} because its heap was damaged ({said}{last})"
    return (
        f"{causes.program(group)} crashed in the allocator, {fault.place(group)} ({fault.what(group.sample)})"
        f"{causes.in_thread(group)}, because its heap was damaged"
    )
