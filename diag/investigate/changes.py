"""Looks beside the logs for what was changed before crashes began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import log_sources, package_log, timestamps
from diag.collectors.log_events import Dating
from diag.crashes.beginnings import LEAST, began
from diag.model.crash import Change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host import Host
    from diag.model.crash import CrashEvent, CrashGroup

_HEADS = 200  # logs whose beginning is looked at
_HEAD = 4096  # bytes in which the first time stamp of a log is looked for


def beginnings(
    host: Host, events: Sequence[CrashEvent], groups: tuple[CrashGroup, ...], files: Sequence[str]
) -> tuple[CrashGroup, ...]:
    """Say of each group with what it began, where that can be told; ``files`` are the logs that were read."""
    if not any(group.count >= LEAST for group in groups):
        return groups
    covered = min((time for path in files[:_HEADS] if (time := _first(host, path)) is not None), default=None)
    changes = [*_boots(events), *_packages(host, files)]
    return tuple(replace(group, began=began(group, changes, covered)) for group in groups)


def _boots(events: Sequence[CrashEvent]) -> Iterator[Change]:
    for event in events:
        if event.kind == "boot" and event.time is not None:
            what = f"the host was booted (Linux {event.detail('release')})"
            yield Change(time=event.time, what=what, name="linux", at=event.at, text=event.text)


def _packages(host: Host, files: Sequence[str]) -> Iterator[Change]:
    for path in dict.fromkeys([*filter(_is_package_log, files), *_beside(host, files)]):
        try:
            dating = Dating(host.status(path).modified, host.info.zone)
            yield from package_log.collect(host, path, dating)
        except OSError:
            continue  # what cannot be read explains nothing; the crashes themselves are all there


def _beside(host: Host, files: Sequence[str]) -> Iterator[str]:
    for directory in dict.fromkeys([log_sources.DIRECTORY, *(path.rpartition("/")[0] for path in files)]):
        if directory and (directory != log_sources.DIRECTORY or not files or _own(files)):
            try:
                names = host.names(directory)
            except OSError:
                continue
            yield from (f"{directory}/{name}" for name in names if package_log.NAMES.fullmatch(name))


def _own(files: Sequence[str]) -> bool:
    return any(path.startswith(f"{log_sources.DIRECTORY}/") for path in files)


def _is_package_log(path: str) -> bool:
    return package_log.NAMES.fullmatch(path.rpartition("/")[2]) is not None


def _first(host: Host, path: str) -> float | None:
    """When a log's first line was written; None where it does not tell (compressed, a journal, a pipe)."""
    if path == "-" or _is_package_log(path):
        return None
    try:
        head = host.read_at(path, 0, _HEAD).decode("utf-8", "replace")
        reference = host.status(path).modified
    except OSError:
        return None
    stamp = timestamps.find(head.partition("\n")[0])
    return stamp and timestamps.epoch(stamp, reference=reference, zone=host.info.zone)
