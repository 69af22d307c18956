"""Time stamps of log lines: found by their form, turned into seconds since the epoch.

Syslog prints neither year nor zone: both are inferred (see ``epoch``).
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from diag.host.records import fixed_zone

if TYPE_CHECKING:
    from datetime import tzinfo

# English first, then as de, fr, es, it, pt, nl, ru and the Nordic languages shorten them: dmesg -T and
# journalctl print them in the language of who ran them. None of them is two months.
_NAMES = (
    "jan janv ene gen янв", "feb févr fev фев", "mar mars mär mrt мар", "apr avr abr avril апр",
    "may mai mei mag maj мая", "jun juin giu июн", "jul juil lug июл", "aug août aou ago авг",
    "sep sept set сен", "oct okt ott out окт", "nov ноя", "dec déc dez dic des дек",
)  # fmt: skip
_MONTHS = {name: number for number, names in enumerate(_NAMES, start=1) for name in names.split()}
_MONTH = r"(?P<month>[^\W\d]{3,5})\.?"
_MINUTES = r":(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
_CLOCK = rf"(?P<hour>\d\d){_MINUTES}"
_ZONE = r"(?:\s?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d))?"
_DAY = r"(?P<day>\d{1,2})"
# \S+: weekdays and months come in the language of who ran dmesg -T.
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<year>\d{{4}})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[T ]{_CLOCK}{_ZONE}",
        rf"(?P<day>\d\d)[- ](?P<month>[A-Za-z]{{3}})[- ](?P<year>\d{{4}}) {_CLOCK}",
        rf"(?P<day>\d\d)/(?P<month>[A-Za-z]{{3}})/(?P<year>\d{{4}}):{_CLOCK}{_ZONE}",
        rf"(?:[^\W\d]+\.? )?{_MONTH} +{_DAY} {_CLOCK} (?P<year>\d{{4}})\b",
        # MariaDB pads hours with blanks.
        rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)  (?P<hour>\d){_MINUTES}",
        rf"(?:[^\W\d]+\.? )?(?P<month>\d{{1,2}})月 +{_DAY} {_CLOCK} (?P<year>\d{{4}})\b",
        rf"(?<!\w){_MONTH} +{_DAY} (?:(?P<year>\d{{4}}) )?{_CLOCK}",
        rf"(?<=\[)(?P<month>[A-Za-z]{{3}}) ?{_DAY} (?P<hour>\d\d):(?P<minute>\d\d)(?=\])",
        r"(?<![\d.])(?P<epoch>1\d{9}\.(?:\d{6}|\d{3}(?=:\d)))(?![\d.])",  # short-unix, audit
    )
)
_USUAL = (_FORMS[0], _FORMS[3], _FORMS[6])
_ANY = re.compile(r"\d\d:\d\d|1\d{9}\.")  # each form has one of them: the kernel's own lines have neither
_OPENING = re.compile(r"(?:<\d{1,3}>(?:\d )?)?\[?")  # a syslog priority, a bracket
_FAR = 7_258_118_400  # 2200: what claims to be later is no time stamp
_GRACE = 86400.0  # seconds by which clocks may be wrong
_DISORDER = 60.0  # seconds by which lines of one log may stand out of order
_REACH = 120  # a time stamp stands near the start of its line


class Stamp(NamedTuple):
    """A time stamp found in a line."""

    text: str  # as printed
    end: int  # where it ends in the line
    fields: dict[str, str | None]


@lru_cache(maxsize=16)  # a line's head and its time are asked for one after the other
def find(line: str) -> Stamp | None:
    """Find the first time stamp near the start of a line."""
    if not _ANY.search(line, 0, _REACH):
        return None
    start = _OPENING.match(line)
    begin = start.end() if start else 0
    for form in _USUAL:  # nearly all logs; the search below takes ten times as long
        if (usual := form.match(line, begin)) and _possible(fields := usual.groupdict()):
            return Stamp(usual.group(), usual.end(), fields)
    found = [match for form in _FORMS if (match := form.search(line, 0, _REACH))]
    found = [match for match in found if _possible(match.groupdict())]
    if not found:
        return None
    first = min(found, key=lambda match: (match.start(), -match.end()))
    return Stamp(first.group(), first.end(), first.groupdict())


def epoch(stamp: Stamp, *, reference: float, zone: tzinfo, earlier: float | None = None) -> float | None:
    """Turn a stamp into seconds since the epoch; None where it names no real instant.

    ``reference`` is when the log was last written: a stamp without a year is taken as the last
    such day that is not after it (a day of grace covers wrong clocks), so a December line in a log
    last written in January falls into the year before. ``zone`` is the log's, used where the stamp has
    none. In the hour that comes twice when summer time ends, the second one is meant where the line
    before it was written at ``earlier``, later than the first.
    """
    fields = stamp.fields
    if text := fields.get("epoch"):
        return float(text)
    try:
        where = fixed_zone(offset) if (offset := fields.get("zone")) else zone
        if year := fields.get("year"):
            found = _instant(fields, int(year), where, earlier)
            return found if 0 < found < _FAR else None
        newest = datetime.fromtimestamp(reference + _GRACE, where).year
        for candidate in range(newest, newest - 10, -1):  # up to two leap days back
            try:
                found = _instant(fields, candidate, where, earlier)
            except ValueError:  # 29 February
                continue
            if found <= reference + _GRACE:
                return found
    except (ValueError, OverflowError):
        pass
    return None


def _possible(fields: dict[str, str | None]) -> bool:
    """Reject three-letter words that are no month."""
    month = fields.get("month")
    return month is None or month.isdigit() or month.lower() in _MONTHS


def _instant(fields: dict[str, str | None], year: int, zone: tzinfo, earlier: float | None) -> float:
    month = fields["month"] or ""
    fraction = fields.get("fraction")
    local = datetime(
        year,
        int(month) if month.isdigit() else _MONTHS[month.lower()],
        int(fields["day"] or 0),
        int(fields["hour"] or 0),
        int(fields["minute"] or 0),
        min(int(fields.get("second") or 0), 59),  # a leap second
        int(fraction.ljust(6, "0")[:6]) if fraction else 0,
        tzinfo=zone,
    )
    first = local.timestamp()
    if earlier is None or first >= earlier - _DISORDER:
        return first
    second = local.replace(fold=1).timestamp()
    return second if earlier - _DISORDER <= second else first
