"""C008: the same crash again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C008"
SLUG = "crash-loop"

LEAST = 3
"""Two of a kind are a coincidence."""

_CLOSE = 600.0
"""Seconds: crashes closer than this on average follow a restart, whatever their rhythm."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """One crash repeats: on a schedule, or as soon as the service is up again."""
    looping = [group for group in snapshot.crash_groups if _loops(group)]
    for faces in causes.together(looping, causes.program):
        yield _finding(next((group for group in faces if group.period), faces[0]))


def _loops(group: CrashGroup) -> bool:
    return group.count >= LEAST and not causes.limited(group) and (group.period is not None or _close(group))


def _close(group: CrashGroup) -> bool:
    span = _span(group)
    return span is not None and span / (group.count - 1) <= _CLOSE


def _span(group: CrashGroup) -> float | None:
    if group.first is None or group.last is None:
        return None
    return group.last - group.first


def _finding(group: CrashGroup) -> Finding:
    span = _span(group)
    rhythm = group.period or f"{group.count} times within {(span or 0) / 60:.1f} min"
    told = f"{group.count} times, {rhythm}" if group.period else rhythm
    place = f" in {group.library}" if group.library else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{causes.program(group)} crashes{place} again and again: {told}{causes.in_task(group)}",
        severity=Severity.WARNING,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.CERTAIN,
        culprit=causes.culprit(group),
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=causes.forged(group),
        remedy=(
            f"Now: see what runs then ({rhythm}): crontab -l, systemctl list-timers, celery beat's schedule."
            if group.period
            else "Now: stop the restart loop (systemctl stop UNIT) while you look; each restart loses work.",
            "In the code: mend the cause that the other findings name; a restart policy only hides it.",
        ),
        check=("systemctl list-timers --all", "grep -r . /etc/cron* /var/spool/cron"),
    )
