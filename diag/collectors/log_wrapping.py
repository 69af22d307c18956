"""Takes a log line out of what a container runtime, a journal or a log shipper wrapped it in."""

from __future__ import annotations

import re
from typing import Any

import msgspec

# Who holds the text of a record: Docker, journald, Elastic's and Fluentd's shippers, Go's loggers, GCP.
_TEXTS = ("log", "MESSAGE", "message", "msg", "textPayload")
_TIMES = ("time", "@timestamp", "timestamp", "ts", "__REALTIME_TIMESTAMP")
_CONTAINER = re.compile(r"\S+ (?:stdout|stderr) [FP] ")  # CRI: time, stream, whole or part
_KMSG = re.compile(r"(\d{1,3}),\d+,(\d+),[^,;]+(?:,[^;]*)?;")  # /dev/kmsg: priority, number, microseconds
_COLOURS = re.compile(r"\x1b\[[\d;]{0,20}[A-Za-z]")  # of programs that take a container's log for a terminal
_FIELD = re.compile(r"\s*MESSAGE=")  # journalctl -o export and -o verbose


def unwrap(text: str) -> str:
    """Return the line itself, with the time and the writer that its wrapping tells."""
    if "\x1b" in text:
        text = _COLOURS.sub("", text)
    if text.startswith("{"):
        return _record(text)
    if match := _KMSG.match(text):
        return f"<{match[1]}>{_clock(int(match[2]))} {text[match.end() :]}"
    if match := _CONTAINER.match(text):
        return text[: match.end()].split(" ", 1)[0] + " " + text[match.end() :]
    if match := _FIELD.match(text):
        return text[match.end() :]
    return text


def _record(text: str) -> str:
    try:
        record = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    if not isinstance(record, dict):
        return text
    inner = next((record[key] for key in _TEXTS if key in record), None)
    if isinstance(inner, list):  # journald: bytes that are no UTF-8
        inner = _bytes(inner)
    if not isinstance(inner, str):
        return text
    time = next((_time(record[key]) for key in _TIMES if key in record), None)
    line = _COLOURS.sub("", inner).rstrip()
    return " ".join(part for part in (time, _writer(record), line) if part)


def _writer(record: dict[str, Any]) -> str:
    """Write a journal's record as journalctl prints it: host, who, and the kernel's own clock."""
    name = record.get("SYSLOG_IDENTIFIER")
    if record.get("_TRANSPORT") == "kernel":
        clock = str(record.get("_SOURCE_MONOTONIC_TIMESTAMP"))
        known = clock.isascii() and clock.isdigit() and len(clock) < 19
        name = f"kernel: {_clock(int(clock))}" if known else "kernel:"
    elif isinstance(name, str) and name:
        name = f"{name}[{record.get('_PID', record.get('SYSLOG_PID', 0))}]:"
    else:
        return ""
    return f"{record.get('_HOSTNAME') or 'localhost'} {name}"


def _time(value: object) -> str | None:
    """Write a time as a log does: text as it is, numbers as seconds, whichever unit they have."""
    if isinstance(value, str) and not value.isdigit():
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or len(str(value)) > 19:
        return None
    seconds = float(value)
    if seconds < 1e9:
        return None  # a clock of its own, or no time
    while seconds >= 1e11:  # milliseconds, microseconds, nanoseconds
        seconds /= 1000
    return f"{seconds:.6f}"


def _bytes(numbers: list[Any]) -> str | None:
    try:
        return bytes(numbers).decode("utf-8", "replace")
    except (TypeError, ValueError):
        return None


def _clock(microseconds: int) -> str:
    return f"[{microseconds // 1_000_000:5}.{microseconds % 1_000_000:06}]"
