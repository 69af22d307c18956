"""Records around a line: what they tell of its time and its writer is not lost."""

from __future__ import annotations

import json
from datetime import timezone
from typing import Any

import pytest

from diag.collectors import timestamps
from diag.collectors.crash_lines import parse_line
from diag.collectors.log_wrapping import unwrap
from diag.model.crash import LogLine

FAULT = "app[77]: segfault at 8 ip 00007f0000001010 sp 00007f0000f00000 error 4 in libx.so[7f0000001000+2000]"
AT = LogLine(file="log", line=1)


@pytest.mark.parametrize(
    "record",
    [
        {"log": FAULT + "\n", "stream": "stderr", "time": "2026-11-26T06:27:50.5Z"},
        {"@timestamp": "2026-11-26T06:27:50.5Z", "host": {"name": "h"}, "message": FAULT},
        {"level": "info", "ts": 1795674470.5, "msg": FAULT},
        {"level": 30, "time": 1795674470500, "pid": 1, "msg": FAULT},
        {"textPayload": FAULT, "timestamp": "2026-11-26T06:27:50.500Z"},
        {"__REALTIME_TIMESTAMP": "1795674470500000", "SYSLOG_IDENTIFIER": "app", "MESSAGE": FAULT},
        {"__REALTIME_TIMESTAMP": "1795674470500000", "MESSAGE": list(FAULT.encode())},
    ],
)
def test_the_time_of_a_record_is_its_lines(record: dict[str, Any]) -> None:
    event = parse_line(json.dumps(record), AT)
    assert event is not None
    assert (event.program, event.pid) == ("app", 77)
    stamp = timestamps.find(event.text)
    assert stamp is not None
    assert timestamps.epoch(stamp, reference=2e9, zone=timezone.utc) == 1795674470.5


def test_a_kernels_record_of_the_journal_tells_so_and_when() -> None:
    record = {
        "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "__REALTIME_TIMESTAMP": "1795674470500000",
        "_SOURCE_MONOTONIC_TIMESTAMP": "12345678901", "_HOSTNAME": "h", "MESSAGE": FAULT,
    }  # fmt: skip
    event = parse_line(json.dumps(record), AT)
    assert event is not None
    assert (event.tag, event.uptime, event.program) == ("kernel", "12345.678901", "app")


@pytest.mark.parametrize(
    "text",
    [
        '{"message": 5}',
        '{"message": [300, "x"], "ts": true}',
        '{"log": null}',
        "{not json at all",
        "{" * 100_000,
        '{"ts": 1e308, "log": "x"}',
        '{"ts": "99999999999999999999999999", "log": "x"}',
        '{"_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "9e9", "MESSAGE": "x"}',
    ],
)
def test_no_record_is_too_odd(text: str) -> None:
    assert isinstance(unwrap(text), str)
