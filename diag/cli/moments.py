"""Points in time as journalctl's --since takes them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from diag.errors import UsageError

if TYPE_CHECKING:
    from datetime import tzinfo

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO = re.compile(r"(?P<sign>[-+])?(?P<number>\d+)\s*(?P<unit>[smhdw])[a-z]*(?P<ago>\s+ago)?")


def moment(text: str, *, now: float, zone: tzinfo) -> float:
    """Read a point in time: seconds since the epoch.

    Known are ``2026-11-22 08:00:00`` (parts from the right may be missing), ``08:00``, ``yesterday``,
    ``today``, ``now``, ``-2h``, ``3 days ago``. Times without a zone are in ``zone``.
    Raises ``UsageError`` for all else.
    """
    here = datetime.fromtimestamp(now, zone)
    midnight = here.replace(hour=0, minute=0, second=0, microsecond=0)
    words = text.strip().lower()
    named = {"now": here, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if words in named:
        return named[words].timestamp()
    if (match := _AGO.fullmatch(words)) and (match["sign"] or match["ago"]):
        span = int(match["number"]) * _UNITS[match["unit"]]
        return now + span if match["sign"] == "+" else now - span
    for form, base in (("%H:%M:%S", midnight), ("%H:%M", midnight)):
        try:
            clock = datetime.strptime(words, form)  # noqa: DTZ007 - the day and zone are taken from base
        except ValueError:
            continue
        return base.replace(hour=clock.hour, minute=clock.minute, second=clock.second).timestamp()
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no point in time", hint="write 2026-11-22 08:00, yesterday, -2h or '3 days ago'"
        ) from error
    return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()
