from __future__ import annotations

import random

import pytest

from diag.crashes.period import period
from diag.host.records import fixed_zone

MIDNIGHT = 1763769600  # 2025-11-22 00:00:00 UTC, a Saturday
HOUR, DAY = 3600, 86400


def beats(start: float, step: float, count: int, jitter: float = 0) -> list[float]:
    chance = random.Random(1)
    return [start + step * number + chance.uniform(0, jitter) for number in range(count)]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (beats(MIDNIGHT, HOUR, 5, jitter=20), "hourly at minute 0"),
        (beats(MIDNIGHT + 17 * 60, HOUR, 5, jitter=20), "hourly at minute 17"),
        (beats(MIDNIGHT + 59 * 60 + 50, HOUR, 5, jitter=30), "hourly at minute 59"),
        (beats(MIDNIGHT, 6 * HOUR, 5), "every 6 hours at minute 0"),
        (beats(MIDNIGHT + 3 * HOUR, DAY, 4, jitter=30), "daily at 03:00"),
        (beats(MIDNIGHT + 3 * HOUR, 7 * DAY, 3), "weekly on Saturday at 03:00"),
        (beats(MIDNIGHT, 300, 6, jitter=4), "every 5 min on the clock (as cron's */5)"),
        (beats(MIDNIGHT + 150, 300, 6, jitter=4), "every 5 min"),
        (beats(MIDNIGHT, 1800, 6, jitter=20), "every 30 min on the clock (as cron's */30)"),
        (beats(MIDNIGHT + 7, 1000, 6), "every 16.7 min"),
    ],
)
def test_a_rhythm_is_named(times: list[float], words: str) -> None:
    assert period(times) == words


def test_missing_beats_and_several_workers_in_one_beat_do_not_hide_it() -> None:
    times = [
        time for time in beats(MIDNIGHT, HOUR, 9) if time not in (MIDNIGHT + 3 * HOUR, MIDNIGHT + 6 * HOUR)
    ]
    assert period([*times, *(time + 1 for time in times)]) == "hourly at minute 0"


def test_hours_are_those_of_the_zone() -> None:
    assert period(beats(MIDNIGHT, DAY, 4), fixed_zone("+0530")) == "daily at 05:30"


def test_without_a_wall_clock_there_is_no_minute_of_the_hour() -> None:
    assert period(beats(0, HOUR, 5), None) == "every 1 hour"


@pytest.mark.parametrize("seed", range(20))
def test_chance_has_no_rhythm(seed: int) -> None:
    chance = random.Random(seed)
    assert period([MIDNIGHT + chance.uniform(0, DAY) for _ in range(8)]) is None


@pytest.mark.parametrize("times", [[], [1.0], [1.0, 3601.0], [1.0, 2.0, 3.0, 4.0], [0.0, 6.0, 12.0, 18.0]])
def test_too_few_or_too_close(times: list[float]) -> None:
    assert period(times) is None


def test_a_parent_that_looks_every_five_seconds_does_not_hide_a_timer() -> None:
    # celery beat: every 90 s from its own start; each death is noted at the parent's next look.
    noted = [time - time % 5 + 5 for time in beats(MIDNIGHT + 33, 90, 9, jitter=3)]
    assert period(noted, jitter=5.0) == "every 1.5 min"
    assert period([*noted[:4], noted[4] + 40, *noted[5:]], jitter=5.0) is None


def test_two_runs_are_no_schedule_though_one_of_them_crashed_twice() -> None:
    assert period([MIDNIGHT, MIDNIGHT + 60, MIDNIGHT + HOUR + 10]) is None
    assert (
        period([MIDNIGHT, MIDNIGHT + 60, MIDNIGHT + HOUR + 10, MIDNIGHT + 2 * HOUR]) == "hourly at minute 0"
    )
