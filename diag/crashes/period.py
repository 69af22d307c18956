"""The rhythm of repeated crashes, in words."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

MINUTE, HOUR, DAY, WEEK = 60, 3600, 86400, 604800
_DAYS = ("Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday")  # of the epoch
_LEAST = 30  # seconds: shorter intervals are restarts, not a schedule
_PARTS = (30 * MINUTE, 20 * MINUTE, 15 * MINUTE, 10 * MINUTE, 5 * MINUTE)  # of an hour, as crontabs have them
_SPREAD = 90  # seconds after a scheduled minute within which a started job may crash


def period(times: Sequence[float], zone: tzinfo | None = timezone.utc, jitter: float = 0.0) -> str | None:
    """Describe a schedule that all ``times`` keep; None for irregular ones, or fewer than three.

    Some beats may be missing. ``zone`` is the one in which hours and days are named;
    None says that the times are no wall clock's. ``jitter`` is how late a time may be noted, in seconds:
    celery looks for its dead every 5 s.
    """
    beats = distinct(times)
    if len(beats) < 3:
        return None
    gaps = [later - earlier for earlier, later in pairwise(beats)]
    step = median(gaps)
    named = None if zone is None else _calendar([beat + utc_offset(zone, beat) for beat in beats], step)
    return named or _regular(gaps, step, jitter)


def _calendar(local: list[float], step: float) -> str | None:
    """Name a schedule of cron's kind: the same second of the hour, day or week each time."""
    for length in (WEEK, DAY, HOUR, *_PARTS):
        if step < length * 0.9 or (start := _common_start(local, length)) is None:
            continue
        if len({round((beat - start) / length) for beat in local}) < 3:
            continue  # several crashes of one run, and another run: two times are no rhythm
        if length < HOUR and (start or step > length * 1.5):
            continue  # a timer that counts from its own start, as celery beat's do
        if length < HOUR:
            return f"every {length // MINUTE} min on the clock (as cron's */{length // MINUTE})"
        clock = f"{start % DAY // HOUR:02d}:{start % HOUR // MINUTE:02d}"
        if length == WEEK:
            return f"weekly on {_DAYS[start // DAY]} at {clock}"
        if length == DAY:
            return f"daily at {clock}"
        hours = round(step / HOUR)
        minute = f"at minute {start // MINUTE}"
        return f"hourly {minute}" if hours == 1 else f"every {hours} hours {minute}"
    return None


def _common_start(local: list[float], length: int) -> int | None:
    """The scheduled second within ``length`` after which all follow closely; None if there is none."""
    phases = sorted(beat % length for beat in local)
    # The largest empty arc of the circle ends where the schedule begins.
    arcs = [(later - earlier, later) for earlier, later in pairwise(phases)]
    arcs.append((phases[0] + length - phases[-1], phases[0]))
    empty, first = max(arcs)
    if length - empty > min(_SPREAD, length / 10):
        return None
    return int(first // MINUTE * MINUTE)


def _regular(gaps: list[float], step: float, jitter: float) -> str | None:
    """Name an interval that all gaps keep within a twentieth, or are multiples of."""
    slack = max(1.5, step / 20) + jitter  # stamps count whole seconds
    beats = [round(gap / step) for gap in gaps]
    if step < _LEAST or min(beats) < 1 or sum(beat == 1 for beat in beats) * 2 < len(beats):
        return None
    if any(abs(gap - beat * step) > slack for gap, beat in zip(gaps, beats, strict=True)):
        return None
    return f"every {interval(step)}"


def interval(seconds: float) -> str:
    """Write a length of time in one unit: ``5 min``."""
    for length, one, many in ((DAY, "day", "days"), (HOUR, "hour", "hours"), (MINUTE, "min", "min")):
        if seconds >= length * 0.95:
            number = round(seconds / length, 1)
            return f"{number:g} {one if number == 1 else many}"
    return f"{seconds:.0f} s"


def distinct(times: Sequence[float]) -> list[float]:
    """Take crashes within a few seconds of each other for one beat: several workers, one cause."""
    beats: list[float] = []
    for time in sorted(times):
        if not beats or time - beats[-1] > 5:
            beats.append(time)
    return beats


def utc_offset(zone: tzinfo, at: float) -> float:
    """The zone's distance from UTC at that time, in seconds: a daily job keeps its hour over summer time."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return offset.total_seconds() if offset else 0.0
