"""Points in time as journalctl's --since takes them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from diag.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_DAY = 86400.0
_UNITS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": _DAY, "day": _DAY, "w": 7 * _DAY, "week": 7 * _DAY,
    "month": 30.44 * _DAY, "y": 365.25 * _DAY, "year": 365.25 * _DAY,
}  # fmt: skip
"""Seconds of each unit of systemd.time(7); its "M" is a month."""

_PART = r"(\d{1,9}(?:\.\d{1,6})?)\s*([A-Za-z]{1,7})"
_SPAN = re.compile(rf"(?P<sign>[-+])?\s*(?P<parts>{_PART}(?:\s*{_PART})*?)(?P<ago>\s+ago)?")
_EPOCH = re.compile(r"@(\d{1,10}(?:\.\d{1,6})?)")


def moment(text: str, *, now: float, zone: tzinfo) -> float:
    """Read a point in time: seconds since the epoch.

    Known are ``2026-11-22 08:00:00`` (parts from the right may be missing), ``08:00``, ``yesterday``,
    ``today``, ``tomorrow``, ``now``, ``-2h``, ``1h 30min ago``, ``@1794380401``. Times without a zone
    are in ``zone``.
    Raises ``UsageError`` for all else.
    """
    here = datetime.fromtimestamp(now, zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    words = text.strip().lower()
    day = timedelta(days=1)
    named = {"now": here, "today": midnight, "yesterday": midnight - day, "tomorrow": midnight + day}
    if words in named:
        return named[words].timestamp()
    if match := _EPOCH.fullmatch(words):
        return float(match[1])
    if (match := _SPAN.fullmatch(text.strip())) and (match["sign"] or match["ago"]):
        span = _span(match["parts"])
        if span is not None:
            return now + span if match["sign"] == "+" else now - span
    for form, base in (("%H:%M:%S", midnight), ("%H:%M", midnight)):
        try:
            clock = datetime.strptime(words, form)  # noqa: DTZ007 - the day and zone are taken from base
        except ValueError:
            continue
        return base.replace(hour=clock.hour, minute=clock.minute, second=clock.second).timestamp()
    try:
        found = datetime.fromisoformat(re.sub(r"\s?(?:Z|UTC)$", "+00:00", text.strip()))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no point in time", hint="write 2026-11-22 08:00, yesterday, -2h or '3 days ago'"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()


def _span(text: str) -> float | None:
    """Add up ``1h 30min``, in seconds; None where a unit is none."""
    whole = 0.0
    for number, name in re.findall(_PART, text):
        unit = "month" if name == "M" else name.lower()
        size = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if size is None:
            return None
        whole += float(number) * size
    return whole
