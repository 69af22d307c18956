"""C012: a process died of a signal, and the logs alone do not tell why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model import fault
from diag.model.crash import Role
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import core_findings, crash_victims, known
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C012"
SLUG = "unexplained-crash"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """No other rule knows the cause of this crash; it happened nevertheless."""
    sharers = causes.sharers(snapshot.crash_groups)
    unknown = (group for group in snapshot.crash_groups if not any(cause(group) for cause in causes.CAUSES))
    core = causes.one_core(snapshot.crash_groups)
    for faces in causes.together(unknown, _face):
        found = _finding(faces, doubtful=faces[0].program in sharers)
        yield replace(found, against=(*core, *found.against))
    yield from core_findings.of(snapshot, CODE, SLUG)


def _face(group: CrashGroup) -> object:
    """Crashes of one program in one library are told together, wherever in it."""
    return causes.program(group), group.library or fault.what(group.sample), fault.signal(group.sample)


def _finding(faces: tuple[CrashGroup, ...], *, doubtful: bool) -> Finding:
    group = faces[0]
    killed = fault.signal(group.sample) == 9
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=_summary(faces),
        severity=Severity.WARNING if killed or doubtful else Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.CERTAIN,
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(*faces),
        against=(
            *_overrun(group),
            *crash_victims.notes(group),
            *(_SHARER if doubtful else ()),
            *causes.forged(group),
        ),
        remedy=_next(group),
        check=causes.look_up(group),
    )


_SHARER = (
    "the same program also crashes in its database client (C001): memory that two threads damage through one "
    "connection shows anywhere",
)


def _summary(faces: tuple[CrashGroup, ...]) -> str:
    group = faces[0]
    name, sample = causes.program(group), group.sample
    number = fault.signal(sample)
    if sample.role is Role.CRASH:
        return (
            f"{name} crashed in {fault.place(group)}: {fault.what(sample)}{causes.in_thread(group)}, "
            f"{causes.times(group)}{causes.elsewhere(faces)}"
        )
    if number == 9:
        return (
            f"{name} was killed by SIGKILL, {causes.times(group)}: no crash of its own; "
            "somebody or the kernel killed it, and no out-of-memory line was found for it"
        )
    unseen = "no kernel line of it was found in the logs that were read"
    if sample.time is None and sample.pid is None:
        unseen = "its line has neither time nor process number to find the kernel's line by"
    if sample.form in fault.CAUGHT:
        unseen = "it caught the signal itself, so the kernel says nothing of it"
    elif number == 6:
        unseen = "it ended itself, of which the kernel says nothing"
    died = f"died of {fault.NAMES.get(number, f'signal {number}')}" if number else "died"
    at = f" in {fault.place(group)}" if group.library else ""
    return f"{name} {died}{at}, {causes.times(group)}{causes.python_at(group)}; {unseen}"


def _overrun(group: CrashGroup) -> tuple[str, ...]:
    if fault.stack_overrun(group.sample):
        return (
            "the address is the first past the top of the stack: a buffer on the stack was overrun, upwards",
        )
    return ()


def _next(group: CrashGroup) -> tuple[str, ...]:
    if fault.signal(group.sample) == 9:
        return (
            "Now: look for who sends SIGKILL: gunicorn's WORKER TIMEOUT, systemd's TimeoutStopSec, a "
            "container "
            "runtime's stop, kill -9 in a script; and for the kernel's out-of-memory lines in its own log.",
        )
    core = "keep a core of the next one (ulimit -c unlimited, coredumpctl list), then: diag core CORE"
    if group.sample.role is Role.CRASH:
        return (
            f"Now: {core}.",
            *known.words(group),
            "In the code: the address was wild or freed: look for objects used after they were closed, "
            "arrays overrun, and libraries that two threads use at once.",
        )
    if group.sample.form in fault.CAUGHT:
        return (*known.words(group), f"Now: read what it wrote below this line: its stack. And {core}.")
    if fault.signal(group.sample) == 6:
        return (*known.words(group), f"Now: read what it wrote just before: why it gave up. And {core}.")
    return (
        *known.words(group),
        f"Now: name the kernel's log too (diag segfaults /var/log/messages THIS-LOG), and {core}. Who "
        "catches the signal, as faulthandler does, leaves no line of the kernel's.",
    )
