"""C005: the instruction pointer itself was bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashEvent, CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C005"
SLUG = "bad-jump"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The program called or returned to an address where no code is."""
    for group in snapshot.crash_groups:
        if causes.bad_jump(group):
            yield _finding(group)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup) -> Finding:
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(f"{causes.program(group)} {_jumped(group)}{causes.in_thread(group)}, {causes.times(group)}"),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else _sure(group),
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=(*_not_to_blame(group.sample), *causes.forged(group)),
        remedy=(
            "Now: check that all parts fit each other: a plug-in or extension built for another "
            "version of its "
            "library gives NULL function pointers (ldd -r on the extension).",
            "In the code: a callback freed while C still calls it (ctypes and CFFI callbacks must be "
            "kept alive), an "
            "object used after it was freed, a library unloaded too early, or a return address overwritten.",
        ),
        check=("coredumpctl gdb   (bt: the caller is what matters; the target itself tells little)",),
    )


def _sure(group: CrashGroup) -> Confidence:
    """A dying process's own stack does not tell data from code that was made at run time (JIT, libffi)."""
    return Confidence.LIKELY if group.sample.detail("nowhere") else Confidence.CERTAIN


def _jumped(group: CrashGroup) -> str:
    if (how := causes.wild_target(group)) == "returned":
        return (
            f"was to return from {fault.place(group)} to an address that no program can have: the return "
            "address on the stack was overwritten"
        )
    if how:
        return (
            f"called, in {fault.place(group)}, an address that no program can have: the function pointer was "
            "freed or overwritten memory"
        )
    return f"jumped to a bad address: {_target(group.sample)}"


def _target(event: CrashEvent) -> str:
    address = event.number("address") or event.number("ip") or 0
    if address == 0:
        return "NULL (a function pointer that was never set)"
    if address < 4096:
        return f"{address:#x} (a function pointer read through NULL)"
    if event.error is not None and event.error & 0x1:
        return f"{address:#x}, which holds data and must not be executed"
    return f"{address:#x}, where no code is"


def _not_to_blame(event: CrashEvent) -> tuple[str, ...]:
    if event.library and not event.inside:
        return (
            f"{event.library} in the kernel's line is only the next mapping above the bad address: "
            "not to blame",
        )
    return ()
