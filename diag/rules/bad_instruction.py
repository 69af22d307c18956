"""C011: the processor refused an instruction."""

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

CODE = "C011"
SLUG = "bad-instruction"

_MEANING = {
    4: "an illegal instruction: code built for another processor (AVX, SSE4), or data executed as code",
    5: "a breakpoint: the program stopped itself (g_error(), an assertion of V8 or Chromium)",
    7: "a bus error: a mapped file became shorter, /dev/shm is full, or an access was not aligned",
    8: "an arithmetic error: an integer divided by zero, or too large for its result",
}
_REMEDY = {
    4: (
        "Now: compare the package's processor level with this host (grep flags /proc/cpuinfo): use a build "
        "for older processors, or give the virtual machine the host's CPU model.",
        "In the code: build without -march=native, or choose code paths by what the processor offers.",
    ),
    5: (
        "Now: read what the program wrote to stderr just before: it says why it stopped.",
        "In the code: remove the cause that message names.",
    ),
    7: (
        "Now: check df /dev/shm and the disk the mapped file lies on; in Docker raise --shm-size.",
        "In the code: never truncate a file that others map; replace it (write new, rename).",
    ),
    8: (
        "Now: find the input that leads there (its time is in the evidence).",
        "In the code: check the divisor, in the function at this offset.",
    ),
}


# Of an x86 processor, SIGBUS is also what it says of these (arch/x86/kernel/traps.c).
_OF_TRAPS = {
    "trap stack segment": (
        "an access to the stack at an address that no program can have: rsp or rbp was overwritten",
        (
            "Now: keep a core of the next one (ulimit -c unlimited, coredumpctl list), then: diag core CORE.",
            "In the code: look for a buffer on the stack that is overrun, and for code that switches stacks.",
        ),
    ),
    "trap alignment check": (
        "an access that was not aligned, where the program had asked for such checks (the AC flag), or a "
        "locked one over two cache lines (split_lock_detect=fatal)",
        (
            "Now: see whether the kernel was told to end split locks: grep split_lock /proc/cmdline.",
            "In the code: align what is accessed; who sets the AC flag must not call the C library then.",
        ),
    ),
}


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A thread died of its own instruction, not of a memory access."""
    for group in snapshot.crash_groups:
        if causes.bad_instruction(group):
            yield _finding(group)
    yield from core_findings.of(snapshot, CODE, SLUG)


def _finding(group: CrashGroup) -> Finding:
    number = fault.signal(group.sample) or 4
    meaning, remedy = _OF_TRAPS.get(
        group.sample.trap or "", (_MEANING.get(number, _MEANING[7]), _REMEDY.get(number, _REMEDY[7]))
    )
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{causes.program(group)} died in {fault.place(group)} of {meaning}"
            f"{causes.in_thread(group)}, {causes.times(group)}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.CERTAIN,
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=causes.forged(group),
        remedy=(*remedy, *known.words(group)),
        check=causes.look_up(group),
    )
