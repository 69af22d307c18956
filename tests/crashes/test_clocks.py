"""Logs in another time zone than the kernel's, without saying so."""

from __future__ import annotations

from datetime import timedelta, timezone
from itertools import accumulate

import pytest

from diag.crashes.clocks import align
from tests.crashes.logs import START, celery, read, segfault

HOST = timezone(timedelta(hours=2))
IRREGULAR = [START + at for at in accumulate((0, 700, 5000, 333, 9000, 1234))]


def moved(crashes: list[float], deaths: list[float], zone: timezone = HOST) -> int | None:
    kernel = read(*(segfault(at, tid=int(at) % 30000) for at in crashes))
    service = read(*(celery(at) for at in deaths), name="celery.log")
    events, found = align((*kernel, *service), zone)
    assert set(found) <= {"celery.log"}
    shift = found.get("celery.log")
    old = [event.time or 0.0 for event in (*kernel, *service)]
    assert [event.time for event in events] == [
        time + (shift or 0) * (event.at.file == "celery.log") for time, event in zip(old, events, strict=True)
    ]
    return shift


@pytest.mark.parametrize("hours", [2, -5, 5.75, 13])
def test_deaths_that_all_lie_as_far_from_the_kernels_lines_tell_the_zone(hours: float) -> None:
    assert moved(IRREGULAR, [at - hours * 3600 + 3 for at in IRREGULAR]) == hours * 3600


def test_one_death_that_the_kernel_left_out_is_no_hindrance() -> None:
    assert moved([*IRREGULAR[:2], *IRREGULAR[3:]], [at - 7200 for at in IRREGULAR]) == 7200


def test_logs_of_one_clock_are_left_alone() -> None:
    assert moved(IRREGULAR, [at + 3 for at in IRREGULAR]) is None


def test_deaths_of_others_are_left_alone() -> None:
    assert moved(IRREGULAR, [at + 100 * number for number, at in enumerate(IRREGULAR, start=1)]) is None
    assert moved(IRREGULAR, [at - 7200 for at in IRREGULAR[:3]]) is None  # too few to say
    assert moved(IRREGULAR, [at - 7100 for at in IRREGULAR]) is None  # no zone is so far away


@pytest.mark.parametrize("step", [900, 3600])
def test_on_a_schedule_only_utc_is_tried_and_only_if_no_line_is_left_alone(step: int) -> None:
    hourly = [START + step * number for number in range(24)]
    assert moved(hourly, [at - 7200 + 3 for at in hourly]) == 7200
    assert moved(hourly, [at + 3 for at in hourly]) is None
    assert moved(hourly, [at - 10800 + 3 for at in hourly]) is None
    assert moved(hourly[1:], [at - 7200 + 3 for at in hourly]) is None


def test_stamps_that_tell_their_zone_are_believed() -> None:
    kernel = read(*(segfault(at, tid=int(at) % 30000) for at in IRREGULAR))
    lines = [celery(at - 7200).replace(",000:", ",000 +00:00:") for at in IRREGULAR]
    assert align((*kernel, *read(*lines, name="celery.log")), HOST)[1] == {}
