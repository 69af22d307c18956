"""Looks at living processes of the kind that crashed: do their threads share a connection now."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors import journal, log_sources
from diag.collectors import process as processes
from diag.errors import DiagError
from diag.rules import crash_causes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.host import Host
    from diag.model.crash import CrashGroup
    from diag.model.snapshot import Snapshot

MOST = 16
"""Processes looked at: one that shares is proof enough, and each look costs it milliseconds."""

RECENT = 7 * 86400.0
"""Seconds after a crash in which living processes still tell something about it."""


def look(
    host: Host, groups: tuple[CrashGroup, ...], *, pause: bool, tell: Callable[[str], None]
) -> Snapshot | None:
    """Read the stacks of those who run the same program with the same library; None: there is nobody."""
    now = host.clock().wall
    wanted = {
        (group.program, group.library)
        for group in groups
        if crash_causes.shared_connection(group) and here(host, group) and now - (group.last or now) < RECENT
    }
    found = tuple(_alive(host, wanted))[:MOST] if wanted else ()
    if not found:
        return None
    from diag.investigate import stacks  # noqa: PLC0415 - most logs need none, and it takes 40 ms

    tell(f"looking at {len(found)} living processes of the same program")
    try:
        return stacks.look(host, found, stacks.Plan(children=False, pause=pause))
    except DiagError:  # they have ended meanwhile
        return None


def here(host: Host, group: CrashGroup) -> bool:
    """Whether the crash happened on this host: a log may be another's."""
    if group.sample.at.file in {log_sources.RING, journal.NAME}:
        return True
    short = re.escape(host.info.name.partition(".")[0])
    return re.search(rf"\s{short}[.\s]", group.sample.text[:120]) is not None


def _alive(host: Host, wanted: set[tuple[str | None, str | None]]) -> Iterator[int]:
    clock = host.clock()
    names = {program for program, _ in wanted}
    for process in processes.collect_all(host, iter(processes.pids(host)), clock):
        if process.name in names and process.pid != host.info.pid:
            try:
                maps = host.read(f"/proc/{process.pid}/maps").decode("utf-8", "replace")
            except OSError:
                continue  # gone, or another user's: then its stacks are closed to us too
            if any(library and f"/{library}" in maps for name, library in wanted if name == process.name):
                yield process.pid
