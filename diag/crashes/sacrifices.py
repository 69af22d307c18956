"""Whom an old kernel really killed for memory: it names the process it chose, and may kill a child of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.crash import CrashEvent

_NEAR = 10  # lines between "Kill process ... or sacrifice child" and "Killed process"


def told(events: Sequence[CrashEvent]) -> list[CrashEvent]:
    """Return the events, kernels' kills with the process that died (mm/oom_kill.c until 4.19)."""
    return [_died(event, events[place + 1 : place + 1 + _NEAR]) for place, event in enumerate(events)]


def _died(event: CrashEvent, following: Sequence[CrashEvent]) -> CrashEvent:
    if event.form != "kill" or event.detail("score") is None:
        return event
    for other in following:
        if other.form == "kill" or other.at.file != event.at.file or other.at.line - event.at.line > _NEAR:
            break
        if other.form == "killed":
            if other.pid == event.pid:
                break
            chosen = ("chosen", event.program or "")
            return replace(event, pid=other.pid, program=other.program, details=(*event.details, chosen))
    return event
