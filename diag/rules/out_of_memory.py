"""C007: the kernel killed a process for memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import crash_causes as causes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C007"
SLUG = "out-of-memory"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The out-of-memory killer chose a process."""
    for group in snapshot.crash_groups:
        if causes.out_of_memory(group):
            yield _finding(group)


def _finding(group: CrashGroup) -> Finding:
    inside = bool(group.sample.detail("cgroup"))
    whose = "its memory cgroup was full" if inside else "the host was out of memory"
    used = [size for event in group.events if isinstance(size := event.detail("anon_rss_kb"), int)]
    size = f" (it used up to {max(used) // 1024} MiB)" if used else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"the kernel killed {causes.program(group)}{size}, {causes.times(group)}: {whose}",
        severity=Severity.CRITICAL,
        confidence=Confidence.POSSIBLE if causes.forged(group) else Confidence.CERTAIN,
        victims=causes.victims(group),
        evidence=causes.evidence(group),
        against=(
            "the process killed is the one whose death frees most, not always the one that leaks",
            *causes.forged(group),
        ),
        remedy=(
            "Now: raise the container's or unit's memory limit, or run fewer workers."
            if inside
            else "Now: run fewer workers, or move something off this host.",
            "In the code: see which requests or jobs grow (memray, tracemalloc); let workers restart "
            "after some "
            "number of tasks (celery --max-tasks-per-child, uWSGI max-requests, gunicorn --max-requests).",
        ),
        check=("journalctl -k -g 'oom|Out of memory'   (the table above the line shows who used what)",),
    )
