"""Why a supervisor killed a process: the line it wrote about that, before the death or just after."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from diag.model import fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.model.crash import CrashEvent

SIGABRT, SIGKILL = 6, 9

_LATE = 60.0
"""Seconds between a limit and the death: gunicorn sends SIGABRT first, SIGKILL when that was no use."""

_SOON = 10.0
"""The same where only the moment joins the two: celery looks for its dead every 5 s."""

_EARLY = 2.0  # seconds by which clocks of two logs differ
_NEAR = 40  # lines, where the log has no time stamps
_MOST = 200  # lines of one moment that are compared: a storm of them must not take quadratic time


class Limits:
    """What supervisors wrote, ready to be looked up by time."""

    def __init__(self, events: Iterable[CrashEvent]) -> None:
        kept = list(events)
        self._dated = sorted((one for one in kept if one.time is not None), key=lambda one: one.time or 0.0)
        self._times = [one.time or 0.0 for one in self._dated]
        self._undated = sorted((one for one in kept if one.time is None), key=_place)
        self._places = [_place(one) for one in self._undated]

    def of(self, death: Sequence[CrashEvent]) -> tuple[CrashEvent, ...]:
        """Return the lines that explain one death, as several reports tell of it."""
        if not {fault.signal(report) for report in death} & {SIGABRT, SIGKILL}:
            return ()
        found = (limit for report in death for limit in self._near(report) if _explains(limit, report))
        return tuple(dict.fromkeys(found))

    def _near(self, report: CrashEvent) -> Iterator[CrashEvent]:
        if report.time is not None:
            end = bisect_right(self._times, report.time + _EARLY)
            start = bisect_left(self._times, report.time - _LATE)
            yield from self._dated[max(start, end - _MOST) : end]
            return
        file, line = _place(report)
        start, end = (
            bisect_left(self._places, (file, line - _NEAR)),
            bisect_right(self._places, (file, line + _NEAR)),
        )
        yield from self._undated[start:end]


def _place(event: CrashEvent) -> tuple[str, int]:
    return event.at.file, event.at.line


def _explains(limit: CrashEvent, report: CrashEvent) -> bool:
    unit, own = limit.detail("unit"), report.detail("unit")
    if limit.pid is not None and report.pid is not None:
        return limit.pid == report.pid
    if unit is not None and own is not None:
        return unit == own
    # celery's names the task, its parent's the worker: the moment has to do.
    told = limit.form == "celery-time-limit" and report.form.startswith("billiard")
    return told and (limit.time is None or report.time is None or report.time - limit.time <= _SOON)
