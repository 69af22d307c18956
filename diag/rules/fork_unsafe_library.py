"""C010: a library that does not survive a fork was used in a forked child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_fork, known
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C010"
SLUG = "fork-unsafe-library"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A worker that was forked died in a library which was in use before the fork."""
    groups = filter(causes.fork_unsafe, snapshot.crash_groups)
    for faces in causes.together(groups, lambda group: (causes.program(group), _entry(group).name)):
        yield _finding(faces)
    yield from core_fork.check(snapshot, CODE, SLUG)


def _entry(group: CrashGroup) -> known.Known:
    return next(entry for entry in known.of(group) if entry.forked)


def _finding(faces: tuple[CrashGroup, ...]) -> Finding:
    group = faces[0]
    entry = _entry(group)
    said = entry.said is not None and not causes.faulted(group)
    place = f"in {fault.place(group)} ({fault.what(group.sample)})" if causes.faulted(group) else "by abort"
    sure = Confidence.LIKELY if said else Confidence.POSSIBLE
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{causes.program(group)}, a forked worker, died {place}, {causes.times(group)}"
            f"{causes.elsewhere(faces)}: {'probably' if said else 'possibly'} {entry.cause}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else sure,
        culprit=causes.culprit(group),
        evidence=causes.evidence(*faces),
        against=(
            "the log does not tell whether the library was in use before the fork: used only after it, it "
            "may be innocent",
            *causes.forged(group),
        ),
        remedy=(
            f"Now: {entry.fix} (see {entry.reference}).",
            "In the code: make handles, channels, pools and contexts of this library only in the worker, "
            "after the fork; import it there if importing it starts threads. Or start workers by spawn.",
        ),
        check=(
            "grep Threads: /proc/PARENT/status   (above 1: its children miss threads)",
            "diag stacks PARENT   (which threads, started by what)",
            *causes.look_up(group),
        ),
    )
