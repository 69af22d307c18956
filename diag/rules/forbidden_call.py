"""C014: a seccomp filter killed the process for a system call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C014"
SLUG = "forbidden-system-call"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """It died of SIGSYS: its sandbox does not allow what its code, or its C library, asks of the kernel."""
    for group in snapshot.crash_groups:
        if causes.forbidden(group):
            yield _finding(group)


def _finding(group: CrashGroup) -> Finding:
    call = _call(group)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{causes.program(group)} was killed for {call or 'a system call'} that a seccomp filter "
        f"forbids, {causes.times(group)}",
        severity=Severity.CRITICAL,
        confidence=Confidence.CERTAIN if call else Confidence.LIKELY,
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=() if call else ("SIGSYS is seccomp's, but no audit record (type=1326) names the call",),
        remedy=(
            "Now: allow it: SystemCallFilter= of the unit (systemctl cat UNIT), or the container's seccomp "
            "profile (docker run --security-opt seccomp=FILE).",
            "In the code: newer C libraries make newer calls (clone3, faccessat2): a filter must follow "
            "them, or answer with an error (SystemCallErrorNumber=EPERM) instead of a kill.",
        ),
        check=("ausearch -m SECCOMP -ts recent", "grep type=1326 /var/log/audit/audit.log"),
    )


def _call(group: CrashGroup) -> str | None:
    for event in (*group.events, *group.reports):
        number = event.detail("syscall")
        if isinstance(number, int):
            name = event.detail("syscall_name")
            return (
                f"the system call {name} ({number})"
                if name not in {None, "?"}
                else f"system call number {number}"
            )
    return None
