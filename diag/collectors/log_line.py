"""What all log lines share: a head (time, boot clock, who wrote it) and a message."""

from __future__ import annotations

import re
from typing import NamedTuple

from diag.collectors import timestamps

# [123.456789], [ 6499.925132 ], [119.156884@1]: seconds since boot.
_UPTIME = re.compile(r"\[\s*(\d+\.\d{3,6})\s?(?:@\d+)?\]")
_RING = re.compile(r"<(\d{1,3})>\[\s*\d+\.\d")
_FACILITY = 8  # priorities below it are the kernel's own
# What neither a host nor a writer follows: dmesg --time-format iso, and container runtimes' time stamps.
_ALONE = re.compile(r",\d{6}[-+]\d\d:\d\d$|\.\d{9}Z$")
_LEVELS = "emerg|alert|crit|err|warn|notice|info|debug"
_DECODED = re.compile(rf"([a-z]+\d?) *:(?:{_LEVELS}) *: ")  # dmesg --decode: facility, level
_KERNEL = re.compile(r"\bkernel(?:\[\d+\])?:|\bkernel - (?:\S+ )?(?:-|\[)")
_RFC5424 = re.compile(r"<\d{1,3}>1 \S+ \S+ (\S+) ")
_TAG = re.compile(r"\s(?:\S+ )??([^\s:\[\]]+)(?:\[\d+\])?: ")
# Where a message may begin: behind a closed bracket, a colon or a bar, and blanks.
_BREAK = re.compile(r"(?:[\]:|]\s+|^(?:[-/>]+\s?)?|^\d\d:\d\d:\d\d\s+)$")
# The same behind a head that tells the time: "... celery.worker ERROR x", "... - ERROR - x".
_NAMED = re.compile(r"(?:\b(?:DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRIT(?:ICAL)?|FATAL|ALERT)\b|\s-)\s+$")
# Source code that quotes a log: an indented comment; a string literal is seen by its quotes.
_COMMENT = re.compile(r"\s+(?:#|//|\*)\s")


class Line(NamedTuple):
    """A log line with its head read."""

    text: str  # the whole line
    log_time: str | None
    stamp: timestamps.Stamp | None
    uptime: str | None
    tag: str | None
    start: int  # the message cannot begin before this index


def read(text: str) -> Line:
    """Read the head of a line."""
    stamp = timestamps.find(text)
    uptime = _UPTIME.search(text, 0, 400)
    start = max(stamp.end if stamp else 0, uptime.end() if uptime else 0)
    return Line(
        text=text,
        log_time=stamp.text if stamp else None,
        stamp=stamp,
        uptime=uptime[1] if uptime else None,
        tag=_tag(text, stamp),
        start=start if start < len(text) else 0,
    )


def quoted(text: str, begin: int) -> bool:
    """Whether what begins at ``begin`` is quoted: source code or prose about a log, not a log."""
    return bool(_COMMENT.match(text)) or text.count('"', 0, begin) % 2 == 1


def begins_message(line: Line, begin: int) -> bool:
    """Whether a message may begin at ``begin``: at the line's start or behind a head."""
    if 0 < line.start <= begin and not line.text[line.start : begin].strip(" ]"):
        return True
    before = line.text[:begin]
    return bool(_BREAK.search(before) or (line.stamp and _NAMED.search(before)))


def has_host(line: Line) -> bool:
    """Whether a host's name follows the time stamp, as loggers write it."""
    return bool(line.log_time) and not line.uptime and not _ALONE.search(line.log_time or "")


def _tag(text: str, stamp: timestamps.Stamp | None) -> str | None:
    """Name who wrote the line: ``kernel``, or the program of a syslog head.

    What programs write to /dev/kmsg has a facility of its own, which the kernel sees to (printk.c).
    """
    decoded = _DECODED.match(text)
    if ((ring := _RING.match(text)) and int(ring[1]) >= _FACILITY) or (decoded and decoded[1] != "kern"):
        return "a program through /dev/kmsg"
    if decoded or _KERNEL.search(text, 0, 400):
        return "kernel"
    if named := _RFC5424.match(text):
        return named[1]
    if stamp is None or _ALONE.search(stamp.text):
        return None
    match = _TAG.match(text, stamp.end)
    return match[1] if match else None
