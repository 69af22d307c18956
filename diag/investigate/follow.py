"""``diag segfaults --follow``: each new crash as it comes, with what is known of its kind so far."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import journal, log_sources
from diag.collectors.crash_lines import NEEDLES, follows
from diag.collectors.log_events import Dating, events
from diag.crashes.book import Book
from diag.crashes.groups import group
from diag.host.follow import Target
from diag.investigate import crash_code
from diag.model.crash import Role
from diag.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.host import LiveHost
    from diag.investigate.places import Places
    from diag.investigate.segfaults import Span, Wanted
    from diag.model.crash import CrashEvent, CrashGroup

RECENT = 2000
"""Events that the groups are made of: older ones are forgotten."""


class Asked(NamedTuple):
    """What the user asked for."""

    span: Span
    wanted: Wanted
    places: Places


def follow(
    host: LiveHost,
    logs: tuple[str, ...],
    asked: Asked,
    *,
    stop: Callable[[], bool],
    hidden: Callable[[str, OSError], None],
) -> Iterator[tuple[CrashEvent, Snapshot]]:
    """Yield each new event with a snapshot of its group alone, until ``stop`` says so.

    Without ``logs``: this host's. What logs hold already counts only where ``span`` has a beginning.
    """
    span, wanted, places = asked
    book = Book()
    recent: deque[CrashEvent] = deque(maxlen=RECENT)
    told = _Once(hidden)
    targets = _Named(host, logs, span.since, told) if logs else partial(_own, host, span.since)
    directories = any(log_sources.is_directory(host, path) for path in logs)
    found = host.follow(
        targets, NEEDLES, follows, whole=span.since is not None, growing=directories, stop=stop, hidden=told
    )
    for name, hits in found:
        fresh = [one for one in events(name, hits, _dating(host, name)) if span.holds(one) and book.add(one)]
        recent.extend(fresh)
        groups = group(tuple(recent), host.info.zone)
        for event in fresh:
            one = next((one for one in groups if _of(one, event)), None)
            if one is not None and wanted.holds(one):
                (one,) = crash_code.name(host, tuple(recent), (one,), places, lambda _: None)
                yield event, Snapshot(crashes=(event,), crash_groups=(one,))
            elif one is None and event.kind == "hung-task" and event.role is Role.CONTEXT:
                yield event, Snapshot(crashes=(event,))


def _of(group: CrashGroup, event: CrashEvent) -> bool:
    # Rotation begins to count lines anew: another crash may stand at the same place of the same file.
    lines = (*group.events, *group.reports)
    return any(one.at == event.at and one.text == event.text for one in lines)


class _Once:
    """Tells of each hidden log once, although it is looked for every few seconds."""

    def __init__(self, hidden: Callable[[str, OSError], None]) -> None:
        self._hidden = hidden
        self._told: set[tuple[str, int | None]] = set()

    def __call__(self, name: str, error: OSError) -> None:
        if (name, error.errno) not in self._told:
            self._told.add((name, error.errno))
            self._hidden(name, error)


class _Named:
    """Names what was asked for, and what appears in directories meanwhile.

    Journal files are followed by directory: journald rotates them in a way of its own.
    """

    def __init__(
        self,
        host: LiveHost,
        logs: tuple[str, ...],
        since: float | None,
        hidden: Callable[[str, OSError], None],
    ) -> None:
        self._host, self._logs, self._since, self._hidden = host, logs, since, hidden
        self._found: dict[str, Target] = {}

    def __call__(self) -> list[Target]:
        for path in self._logs:
            inside = log_sources.is_directory(self._host, path)
            for file in log_sources.below(self._host, path, self._hidden) if inside else (path,):
                if file not in self._found:
                    self._found[file] = self._target(file)
        return list(dict.fromkeys(self._found.values()))

    def _target(self, file: str) -> Target:
        if file == "-" or not journal.is_file(self._host, file):
            return Target(name=file, path=file)
        directory = file.rpartition("/")[0] or "."
        return Target(name=directory, argv=journal.following(self._since, directory))


def _own(host: LiveHost, since: float | None) -> list[Target]:
    files = [path for path in log_sources.files(host) if not log_sources.rotated(path)]
    return [
        *(Target(name=path, path=path) for path in files),
        Target(name=journal.NAME, argv=journal.following(since)),
        Target(name=log_sources.RING, path="/dev/kmsg"),
    ]


def _dating(host: LiveHost, name: str) -> Dating:
    clock = host.clock()
    boot = clock.wall - clock.monotonic if name == log_sources.RING else None
    return Dating(clock.wall, host.info.zone, boot=boot)
