"""Logs whose time stamps have no zone, and another one than was thought: a container's, beside its host's.

A service's log tells of the same deaths as the kernel's. Where nearly all of them fall on the kernel's lines
once they are moved by one and the same number of quarters of an hour, and do not without, its clock is known.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.crashes.groups import AFTER, BEFORE
from diag.crashes.period import distinct, period, utc_offset
from diag.model.crash import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from diag.model.crash import CrashEvent

LEAST = 4
"""Deaths that have to agree: fewer may do so by chance."""

_STEP = 900  # seconds: zones differ by whole quarters of an hour
_REACH = 14 * 3600  # seconds from UTC, at most (Kiribati)
_MOST = 200  # deaths and crashes that are compared
_NEARLY = 0.8  # share of deaths that must have a kernel line
_HARDLY = 0.3  # share that may have one by chance

_ZONED = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$|^\d{10}\.")


def align(events: Sequence[CrashEvent], zone: tzinfo) -> tuple[tuple[CrashEvent, ...], dict[str, int]]:
    """Return the events with their true times, and for each log that was moved by how many seconds.

    ``zone`` is the one in which time stamps without zone were read.
    """
    crashes = _moments(event for event in events if event.role is Role.CRASH)
    moved: dict[str, int] = {}
    if len(crashes) >= LEAST:
        scheduled = period(crashes, zone) is not None
        for file, told in _unzoned(events).items():
            deaths = _moments(told)
            shift = _to_utc(deaths, crashes, zone) if scheduled else _shift(deaths, crashes)
            if len(deaths) >= LEAST and shift:
                moved[file] = shift
    if not moved:
        return tuple(events), moved
    return tuple(_at(event, moved.get(event.at.file, 0)) for event in events), moved


def _unzoned(events: Sequence[CrashEvent]) -> dict[str, list[CrashEvent]]:
    """Sort reports by their logs: those without lines of the kernel's own, and without zones."""
    kernels = {event.at.file for event in events if event.role is Role.CRASH}
    found: dict[str, list[CrashEvent]] = defaultdict(list)
    for event in events:
        if event.role is Role.REPORT and event.at.file not in kernels and event.log_time:
            found[event.at.file].append(event)
    return {file: told for file, told in found.items() if not any(map(_zoned, told[:_MOST]))}


def _zoned(event: CrashEvent) -> bool:
    return bool(_ZONED.search(event.log_time or ""))


def _moments(events: Iterable[CrashEvent]) -> list[float]:
    return distinct([event.time for event in events if event.time is not None])[-_MOST:]


def _shift(deaths: list[float], crashes: list[float]) -> int:
    """Find the only distance at which nearly all deaths have a crash; 0 where there is none, or several."""
    shares = {
        shift: sum(_met(death + shift, crashes) for death in deaths) / max(1, len(deaths))
        for shift in range(-_REACH, _REACH + 1, _STEP)
    }
    best = max(shares, key=lambda shift: shares[shift])
    others = max(share for shift, share in shares.items() if shift != best)
    return best if best and shares[best] >= _NEARLY and others <= _HARDLY else 0


def _to_utc(deaths: list[float], crashes: list[float], zone: tzinfo) -> int:
    """Return the zone's distance from UTC if it leaves no crash and no death alone, as none would; else 0.

    Crashes on a schedule fall on others' at many distances: only the likeliest is tried.
    """
    shift = int(utc_offset(zone, crashes[-1]))
    pairs = len(deaths) == len(crashes) and all(_met(death + shift, crashes) for death in deaths)
    return shift if pairs and not all(_met(death, crashes) for death in deaths) else 0


def _met(death: float, crashes: list[float]) -> bool:
    """Whether the kernel told of a crash when this death was noticed, or shortly before."""
    place = bisect_left(crashes, death - AFTER)
    return place < len(crashes) and crashes[place] <= death + BEFORE


def _at(event: CrashEvent, shift: int) -> CrashEvent:
    return replace(event, time=event.time + shift) if shift and event.time is not None else event
