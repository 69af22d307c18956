"""All formats of crash lines, and the one function that reads a line."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ahocorasick_rs import AhoCorasick, MatchKind

from diag.collectors import (
    aftermath,
    kernel_kills,
    kernel_log,
    kernel_memory,
    kernel_other,
    log_line,
    log_wrapping,
    runtime_log,
    service_log,
    service_other,
    supervisor_log,
    system_log,
)
from diag.collectors.crash_format import Format, event

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent, LogLine

# Kernel formats first; within a file the strict form stands before the tolerant one.
FORMATS: tuple[Format, ...] = (
    *kernel_log.FORMATS,
    *kernel_other.FORMATS,
    *kernel_memory.FORMATS,
    *kernel_kills.FORMATS,
    *system_log.FORMATS,
    *service_log.FORMATS,
    *service_other.FORMATS,
    *runtime_log.FORMATS,
    *supervisor_log.FORMATS,
)

NEEDLES: tuple[str, ...] = tuple(dict.fromkeys(n for form in FORMATS for n in form.needles))
"""What to search logs for: every line that ``parse_line`` knows holds one of these."""


_FINDER = AhoCorasick(list(NEEDLES), matchkind=MatchKind.Standard)


follows = aftermath.wanted
"""How many bytes of what follows a line ``parse_line`` could use."""


def parse_line(text: str, at: LogLine, after: str = "") -> CrashEvent | None:
    """Read one line: the event it tells of, or None for any other line.

    ``after`` is what follows it in the log. ``time`` is left open: only the caller knows the log's
    year and zone (``timestamps.epoch``).
    """
    text = log_wrapping.unwrap(text)
    found = _parse(text, at)
    if found is None or not after:
        return found
    return aftermath.complete(found, text, aftermath.unwrapped(after), lambda line: _parse(line, at))


def _parse(text: str, at: LogLine) -> CrashEvent | None:
    found = _FINDER.find_matches_as_indexes(text, overlapping=True)
    line: log_line.Line | None = None
    for form in _formats(frozenset([needle for needle, _, _ in found])):
        if match := _compiled(form.pattern).search(text):
            line = line or log_line.read(text)  # dear: only for lines that look right
            if told := event(line, match, form, at):
                return told
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(1024)
def _formats(found: frozenset[int]) -> tuple[Format, ...]:
    """Name the formats whose lines may hold these needles, in order."""
    needles = {NEEDLES[place] for place in found}
    return tuple(form for form in FORMATS if needles.intersection(form.needles))
