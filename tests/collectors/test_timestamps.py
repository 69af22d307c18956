from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from diag.collectors import log_events, timestamps
from diag.host.records import fixed_zone
from tests.support.cli import diag

if TYPE_CHECKING:
    from pathlib import Path

JANUARY = datetime(2027, 1, 3, tzinfo=timezone.utc).timestamp()


def read(line: str, reference: float = JANUARY, zone: str = "+0000") -> str | None:
    stamp = timestamps.find(line)
    time = stamp and timestamps.epoch(stamp, reference=reference, zone=fixed_zone(zone))
    return None if time is None else datetime.fromtimestamp(time, timezone.utc).isoformat()


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("Dec 31 23:59:58 h kernel: x", "2026-12-31T23:59:58+00:00"),
        ("Jan  1 00:00:01 h kernel: x", "2027-01-01T00:00:01+00:00"),
        ("Jan  3 20:00:00 clock a little ahead", "2027-01-03T20:00:00+00:00"),
        ("Feb 29 10:00:00 only in leap years", "2024-02-29T10:00:00+00:00"),
        ("2026-11-22T08:00:00.250+02:00 h kernel: x", "2026-11-22T06:00:00.250000+00:00"),
        ("2026-11-22 08:00:00,044: ERROR", "2026-11-22T08:00:00.044000+00:00"),
        ("[2026-11-22 08:00:00 -0700] [12] [ERROR]", "2026-11-22T15:00:00+00:00"),
        ("2026/11/22 08:00:00 [alert] 1#1: x", "2026-11-22T08:00:00+00:00"),
        ("[22-Nov-2026 08:00:00] WARNING: x", "2026-11-22T08:00:00+00:00"),
        ("[Sun Nov 22 08:00:00 2026] x", "2026-11-22T08:00:00+00:00"),
        ("[Sun Nov 22 08:00:00.123456 2026] [core:notice] x", "2026-11-22T08:00:00.123456+00:00"),
        ("[日 11月 22 08:00:00 2026] x", "2026-11-22T08:00:00+00:00"),
        ("[So Mär 22 08:00:00 2026] German", "2026-03-22T08:00:00+00:00"),
        ("[sáb. août 22 08:00:00 2026] any language", "2026-08-22T08:00:00+00:00"),
        ("ene 22 08:00:00 h kernel: Spanish", "2026-01-22T08:00:00+00:00"),
        ("Nov 22 2026 08:00:00 h x", "2026-11-22T08:00:00+00:00"),
        ("2026-11-22  8:00:00 0 [ERROR] MariaDB", "2026-11-22T08:00:00+00:00"),
        ("1:M 22 Nov 2026 08:00:00.501 # Redis", "2026-11-22T08:00:00.501000+00:00"),
        ("type=ANOM_ABEND msg=audit(1700000000.123:45): x", "2023-11-14T22:13:20.123000+00:00"),
        ("[Nov22 08:00] x", "2026-11-22T08:00:00+00:00"),
        ("1700000000.123456 h kernel: x", "2023-11-14T22:13:20.123456+00:00"),
        ("Nov 31 08:00:00 no such day", None),
        ("2026-13-22 08:00:00 no such month", None),
        ("Foo 11 08:00:00 no month at all", None),
        ("[12345.678901] x", None),
        ('10.0.0.1 - - [22/Nov/2026:08:00:00 +0100] "GET', "2026-11-22T07:00:00+00:00"),
    ],
)
def test_every_form_of_time_stamp(line: str, time: str | None) -> None:
    assert read(line) == time


def test_a_stamp_without_zone_is_in_the_zone_of_the_log() -> None:
    assert read("Nov 22 08:00:00 h x", zone="+0530") == "2026-11-22T02:30:00+00:00"
    assert read("2026-11-22 08:00:00 x", zone="-0300") == "2026-11-22T11:00:00+00:00"
    assert read("2026-11-22T08:00:00Z x", zone="-0300") == "2026-11-22T08:00:00+00:00"


def test_the_first_stamp_counts_and_only_near_the_start() -> None:
    assert read("Nov 22 08:00:00 h app: since 2020-01-01 00:00:00") == "2026-11-22T08:00:00+00:00"
    assert read("x" * 200 + "2020-01-01 00:00:00") is None


BERLIN = ZoneInfo("Europe/Berlin")


def berlin(line: str, earlier: str | None = None) -> str:
    stamp = timestamps.find(line)
    assert stamp
    before = None if earlier is None else datetime.fromisoformat(earlier).timestamp()
    time = timestamps.epoch(stamp, reference=JANUARY, zone=BERLIN, earlier=before)
    assert time is not None
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="minutes")


def test_summer_time_is_told_by_the_date_not_by_the_hour_of_the_look() -> None:
    assert berlin("Jul  1 12:00:00 h x") == "2026-07-01T10:00+00:00"
    assert berlin("Dec  1 12:00:00 h x") == "2026-12-01T11:00+00:00"


def test_the_hour_that_comes_twice() -> None:
    assert berlin("Oct 25 02:30:00 h x") == "2026-10-25T00:30+00:00"
    assert berlin("Oct 25 02:30:00 h x", "2026-10-25T00:50:00+00:00") == "2026-10-25T01:30+00:00"
    assert berlin("Oct 25 02:30:00 h x", "2026-10-25T00:30:10+00:00") == "2026-10-25T00:30+00:00"


def test_a_host_knows_its_zone_and_so_does_its_recording(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    hours = ("Oct 24 02:30:00", "Oct 25 02:30:00", "Oct 26 02:30:00", "Oct 27 02:30:00")
    line = "h kernel: app[{}]: segfault at 8 ip 00007f0000001010 sp 00007f0000f00000 error 4"
    log.write_text("".join(f"{hour} {line.format(number)}\n" for number, hour in enumerate(hours, start=7)))
    berlin = {"TZ": "Europe/Berlin"}
    recording = tmp_path / "recording"
    diag("record", "-o", recording, "--", "segfaults", log, form="terminal", env=berlin)
    for answer in (
        diag("segfaults", log, env=berlin),
        diag("segfaults", "--replay", recording, env={"TZ": "Asia/Tokyo"}),
    ):
        (group,) = answer.json["segfaults"]["groups"]
        assert group["period"] == "daily at 02:30"
        assert group["first"].endswith("-24T00:30:00.000+00:00")
        assert group["last"].endswith("-27T01:30:00.000+00:00")


def test_a_clock_that_cannot_be_this_boots_gives_no_time() -> None:
    line = b"[888888888881.000000] app[7]: segfault at 0 ip 0 sp 0 error 4"
    (event,) = log_events.events(
        "ring", log_events.in_memory(line), log_events.Dating(JANUARY, timezone.utc, boot=JANUARY - 99)
    )
    assert event.time is None
    assert read("9999-12-31 23:59:59 x") is None
