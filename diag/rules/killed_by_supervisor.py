"""C013: a supervisor killed the process itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Severity
from diag.rules import crash_causes as causes
from diag.rules.crash_causes import few

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashEvent, CrashGroup
    from diag.model.snapshot import Snapshot

CODE = "C013"
SLUG = "killed-by-supervisor"

_WHY = {
    "gunicorn-timeout": "gunicorn, because it was silent for longer than its time limit (--timeout)",
    "uwsgi-harakiri": "uWSGI, because a request took longer than harakiri allows",
    "celery-time-limit": "celery, because a task took longer than its hard time limit",
    "systemd-timeout": "systemd, because it did not start or stop in time (TimeoutStartSec, TimeoutStopSec)",
    "systemd-watchdog": "systemd, because it did not answer its watchdog in time (WatchdogSec)",
    "systemd-kill": "systemd, because it was still there when its unit was stopped",
    "supervisord-kill": "supervisord, because it did not stop in time (stopwaitsecs)",
    "php-fpm-timeout": "php-fpm, because a request took longer than request_terminate_timeout",
    "oom-unit": "the kernel's out-of-memory killer, as systemd was told",
    "oomd": "systemd-oomd, for memory: the unit's use or the pressure was over its limit",
    "earlyoom": "earlyoom, because memory was about to run out",
    "docker-stop": "dockerd, because it did not stop in time (docker stop --time)",
    "kubelet-probe": "kubelet, because its liveness probe failed",
}
_MEMORY = frozenset({"oom-unit", "oomd", "earlyoom"})


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """SIGKILL is no crash: somebody sent it, and here is who and why."""
    for group in snapshot.crash_groups:
        if causes.limited(group):
            yield _finding(group, group.limits[0])


def _finding(group: CrashGroup, limit: CrashEvent) -> Finding:
    task = limit.detail("task") or limit.detail("unit") or limit.detail("container")
    about = f" ({task})" if task else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{causes.program(group)} did not crash: it was killed by {_WHY[limit.form]}{about}, "
        f"{causes.times(group)}",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        victims=causes.victims(group),
        evidence=(
            *(Evidence(source=str(event.at), text=event.text) for event in few(group.limits)),
            *causes.evidence(group),
        ),
        against=("a log line says so, and the death fits it in time and number; no kernel line proves it",),
        remedy=_MORE_MEMORY if limit.form in _MEMORY else _LESS_WAITING,
        check=("diag stacks PID   (of the next one that is slow, before its time is up)",),
    )


_LESS_WAITING = (
    "Now: see what the next slow one waits for: diag why PID. A longer limit only hides it.",
    "In the code: give each call to a database, a server or a lock a time limit below the supervisor's.",
)
_MORE_MEMORY = (
    "Now: raise the unit's or container's memory limit, or run fewer workers.",
    "In the code: see which requests or jobs grow (memray, tracemalloc); restart workers after some number.",
)
