"""``diag segfaults``: logs -> crashes -> groups."""

from __future__ import annotations

import errno
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import core_files, journal, log_sources
from diag.errors import DiagError
from diag.investigate.places import Places
from diag.model.facts import Gap
from diag.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.crashes.book import Book
    from diag.host import Host
    from diag.model.crash import CrashEvent, CrashGroup

BLINDS = frozenset(f"C{number:03d}" for number in range(1, 15))
"""Any crash may stand in a log that could not be read."""


MOST = 2000
"""Kinds of crash that are judged, the most frequent ones: each gives findings that somebody has to read."""


class Span(NamedTuple):
    """The time looked at, in seconds since the epoch; None: without end."""

    since: float | None = None
    until: float | None = None

    def holds(self, event: CrashEvent) -> bool:
        """Whether an event lies in it; one without a time stamp might, so it does."""
        if event.time is None:
            return True
        return (self.since is None or event.time >= self.since) and (
            self.until is None or event.time <= self.until
        )


class Wanted(NamedTuple):
    """Which crashes are asked for; None: all."""

    program: str | None = None
    library: str | None = None
    pid: int | None = None

    def holds(self, group: CrashGroup) -> bool:
        """Whether a group is of this program, in this library (without its version), of this pid."""
        lines = (*group.events, *group.reports)
        return (
            (self.program is None or group.program == self.program[:15])
            and (self.library is None or (group.library or "").startswith(self.library))
            and (self.pid is None or self.pid in {event.pid for event in lines})
        )


ALWAYS = Span()
ALL = Wanted()
HERE = Places()


class Source(NamedTuple):
    """One log."""

    name: str
    read: Callable[[], Iterator[CrashEvent]]


def look(
    host: Host,
    logs: tuple[str, ...],
    *,
    span: Span = ALWAYS,
    wanted: Wanted = ALL,
    places: Places = HERE,
    pause: bool = True,
    named_from: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Snapshot:
    """Read the named logs, or those of this host; ``tell`` is told what is being read.

    Where a database client crashed on this host, living processes of the same program are looked at
    too; without ``pause`` none is ever stopped for it. ``places`` says where the files lie that crashed;
    of groups of fewer than ``named_from`` crashes no function is looked up.

    Raises ``DiagError`` when logs were named and not one could be read.
    """
    gaps: list[Gap] = []
    sources = _named(host, logs, gaps, span) if logs else _own(host, span)
    log_sources.soon(host, _files(sources))
    # The search of compressed logs has begun: what makes something of its results loads meanwhile.
    from diag.crashes.book import Book  # noqa: PLC0415
    from diag.crashes.clocks import align  # noqa: PLC0415
    from diag.crashes.groups import group  # noqa: PLC0415
    from diag.investigate import changes, crash_code, odd_logs, siblings  # noqa: PLC0415

    book = Book()
    whole: list[str] = []
    for source in sources:
        tell(f"searching {source.name}")
        try:
            for event in source.read():
                if span.holds(event):
                    book.add(event)
            whole.append(source.name)
        except OSError as error:
            if logs or not isinstance(error, FileNotFoundError):
                gaps.append(_gap(host, source.name, error))
    log_sources.soon(host, ())
    told_of = {event.at.file for event in book.events}
    silent = [path for path in logs if path in whole and path != "-" and path not in told_of]
    gaps.extend(odd for path in silent if (odd := odd_logs.gap(host, path)))
    if logs and gaps and not whole and not book.events:
        raise DiagError(f"{gaps[0].source}: {gaps[0].reason}", hint=gaps[0].hint)
    if book.left_out:
        gaps.append(_too_many(book))
    told, moved = align(book.events, host.info.zone)
    gaps.extend(_other_clock(file, seconds) for file, seconds in moved.items())
    events, groups = _asked(told, group(told, host.info.zone, book.left_out), wanted)
    if groups:
        gaps.extend(_left_out(told))
    if len(groups) > MOST:
        gaps.append(_too_many_kinds(groups[MOST:]))
        groups = groups[:MOST]
    groups = changes.beginnings(host, told, groups, _files(sources))
    groups = crash_code.name(host, told, groups, places, tell, named_from)
    living = siblings.look(host, groups, pause=pause, tell=tell) or Snapshot()
    cores = core_files.collect(host) if groups else ()
    return replace(living, crashes=events, crash_groups=groups, core_files=cores, gaps=(*gaps, *living.gaps))


def _files(sources: list[Source]) -> tuple[str, ...]:
    return tuple(source.name for source in sources if source.name not in {journal.NAME, log_sources.RING})


def _asked(
    events: tuple[CrashEvent, ...], groups: tuple[CrashGroup, ...], wanted: Wanted
) -> tuple[tuple[CrashEvent, ...], tuple[CrashGroup, ...]]:
    """Leave out what was not asked for; a service's line stays with the crash it tells of."""
    if wanted == ALL:
        return events, groups
    groups = tuple(one for one in groups if wanted.holds(one))
    kept = {event.at for one in groups for event in (*one.events, *one.reports)}
    return tuple(event for event in events if event.at in kept), groups


def _named(host: Host, logs: tuple[str, ...], gaps: list[Gap], span: Span) -> list[Source]:
    """Make a source of each named file, and of each file below each named directory."""
    files: dict[str, None] = {}
    for path in logs:
        if log_sources.is_directory(host, path):
            found = log_sources.below(host, path, lambda name, error: gaps.append(_gap(host, name, error)))
            files.update(dict.fromkeys(found))
        else:
            files[path] = None
    return [_file(host, path, span) for path in files]


def _own(host: Host, span: Span) -> list[Source]:
    return [
        *(_file(host, path, span) for path in log_sources.files(host)),
        Source(journal.NAME, partial(journal.read, host, span.since)),
        Source(log_sources.RING, partial(log_sources.read_ring, host)),
    ]


def _file(host: Host, path: str, span: Span) -> Source:
    return Source(path, partial(log_sources.read_file, host, path, span.since))


def _gap(host: Host, name: str, error: OSError) -> Gap:
    return Gap(
        source="standard input" if name == "-" else name,
        hides="crashes recorded in it",
        reason=error.strerror or str(error),
        hint=_hint(host, name, error),
        blinds=BLINDS,
    )


def _hint(host: Host, name: str, error: OSError) -> str:
    """Say what lifts the limit, on this host, for this reader."""
    if isinstance(error, FileNotFoundError):
        return "check the path; without LOG, diag reads this host's own logs"
    if name == journal.NAME and error.errno == errno.EFBIG:
        return "narrow it with --since, or read all of it: journalctl -o short-unix | diag segfaults -"
    if isinstance(error, IsADirectoryError):
        return f"name the files in it: {name}/*"
    if error.errno == errno.EBADMSG:
        return "what could be unpacked was searched; fetch the archive again from where it is whole"
    if error.errno == errno.EINVAL:
        return "name a regular file, or pipe it in: COMMAND | diag segfaults -"
    if isinstance(error, PermissionError) and host.info.uid:
        return "run diag as root, or as a member of the group that may read logs (adm, systemd-journal)"
    if isinstance(error, PermissionError) and host.info.container:
        return "run diag on the host itself, or give the container CAP_SYSLOG and the host's /var/log"
    if isinstance(error, PermissionError):
        return "root lacks the right here: see the file's mount, or kernel.dmesg_restrict and CAP_SYSLOG"
    if isinstance(error, TimeoutError):
        return "what came in time was searched; narrow it with --since, or name fewer files"
    return "copy the log elsewhere and name the copy"


def _left_out(events: tuple[CrashEvent, ...]) -> list[Gap]:
    """Tell of faults that the kernel had no line for: of many at once it prints ten in five seconds."""
    counts = Counter[str]()
    for event in events:
        if event.form == "callbacks-suppressed" and "__ratelimit:" not in event.text:  # of any message
            counts[event.at.file] += int(event.detail("suppressed") or 0)
    return [
        Gap(
            source=file,
            hides=f"{count} more faults, of these programs or others: the counts are the least",
            reason="the kernel left out their lines, for there were many at once (callbacks suppressed)",
            hint="what services and audit tell is not left out: name their logs too",
        )
        for file, count in counts.items()
        if count
    ]


def _other_clock(file: str, seconds: int) -> Gap:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    side = "behind" if seconds > 0 else "ahead of"
    return Gap(
        source=file,
        hides="the time zone of its time stamps",
        reason=f"nearly all of its deaths are {hours} h {minutes:02d} min {side} the kernel's lines: they "
        "were moved by that much, as of another time zone",
        hint="TZ= names the zone of logs that do not tell it",
    )


def _too_many(book: Book) -> Gap:
    first, last = book.kept
    return Gap(
        source="diag",
        hides=f"{book.left_out.total()} lines between the first {first} and the last {last}: only counted",
        reason="memory is kept bounded",
        hint="narrow the time with --since and --until",
        blinds=BLINDS,
    )


def _too_many_kinds(groups: tuple[CrashGroup, ...]) -> Gap:
    crashes = sum(one.count for one in groups)
    return Gap(
        source="diag",
        hides=f"the causes of {len(groups)} rarer kinds of crash ({crashes} crashes)",
        reason=f"the {MOST} most frequent kinds were judged; JSON has the events of all",
        hint="narrow it with --program, --library, --since and --until",
        blinds=BLINDS,
    )
