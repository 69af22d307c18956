"""C004: the stack of a thread ran over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C004"
SLUG = "stack-overflow"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The faulting address lies just past the stack pointer: the stack is used up."""
    for group in snapshot.crash_groups:
        if causes.stack_overflow(group):
            yield _finding(group)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup) -> Finding:
    sample = group.sample
    main = fault.thread(sample) == "main"
    limit = "ulimit -s" if main else "threading.stack_size() or the library's setting"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{causes.program(group)} ran out of stack in {fault.place(group)} "
            f"({fault.what(sample)}, stack pointer {sample.number('sp') or 0:#x}){causes.in_thread(group)}, "
            f"{causes.times(group)}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.LIKELY,
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=causes.forged(group),
        remedy=(
            f"Now: give the thread a larger stack ({limit}); it only helps where the depth has a bound.",
            "In the code: find the recursion that has no end, or the large array on the stack. "
            "Alpine's musl gives "
            "threads 128 KiB only: set threading.stack_size(2 * 1024 * 1024) before they start.",
        ),
        check=(
            *causes.look_up(group),
            "ulimit -s   (KiB, of the service: systemctl show -p LimitSTACK UNIT)",
        ),
    )
