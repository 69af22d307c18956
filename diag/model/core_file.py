"""A core file that lies about, by its name and dates alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.model.crash import CrashGroup

NEAR = 120.0
"""Seconds between a crash and the end of the writing of its core: large ones take a while."""


class CoreFile(Fact, frozen=True, kw_only=True):
    """One core file of this host, not opened yet."""

    path: str
    modified: float  # seconds since the epoch: about when the process died
    size: int  # bytes
    pid: int | None = None  # as its name has it
    program: str | None = None


def of_group(group: CrashGroup, files: Iterable[CoreFile]) -> tuple[CoreFile, ...]:
    """Return the cores that belong to a crash, the newest first.

    Their dates must fit, and what their names tell: the program, or the process. The kernel's line has the
    number of the thread, so that only equal numbers count, and different ones say nothing.
    """
    lines = (*group.events, *group.reports)
    times = [event.time for event in lines if event.time is not None]
    pids = {event.pid for event in lines if event.pid}
    found = []
    for file in files:
        in_time = any(-2.0 <= file.modified - time <= NEAR for time in times)
        same_pid = file.pid is not None and file.pid in pids
        same_name = file.program is not None and file.program[:15] == group.program
        nameless = file.pid is None and file.program is None
        if in_time and (same_pid or same_name or nameless):
            found.append(file)
    return tuple(found)
