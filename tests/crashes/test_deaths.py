"""One death, as many as tell of it; and two that look like one."""

from __future__ import annotations

import time

import pytest

from diag.crashes.groups import group
from tests.crashes.logs import START, celery, groups, read, stamp

HOUR = 3600


def systemd(at: float, signal: str = "11/SEGV") -> str:
    return f"{stamp(at)} h systemd[1]: web.service: Main process exited, code=dumped, status={signal}"


def audit(at: float, pid: int, signal: int = 11) -> str:
    return f'type=ANOM_ABEND msg=audit({at:.3f}:5): auid=1 pid={pid} comm="web" exe="/web" sig={signal} res=1'


@pytest.mark.parametrize(
    "lines",
    [
        [f"{stamp(START)} h java[70]: #  SIGSEGV (0xb) at pc=0x7f, pid=70, tid=71",
         audit(START, 70, 6), systemd(START + 1, "6/ABRT")],
        [f"{stamp(START)} h puma[70]: a.rb:5: [BUG] Segmentation fault at 0x1", systemd(START + 1, "6/ABRT")],
        ["web-1  | Fatal Python error: Segmentation fault", "web-1  | ",
         "web-1  | Current thread 0x7f (most recent call first):",
         *['web-1  |   File "/a.py", line 3 in f'] * 60, "web-1 exited with code 139"],
        ["!!! uWSGI process 20 got Segmentation Fault !!!", *["uwsgi(+0x2a) [0x4682ba]"] * 30,
         "DAMN ! worker 1 (pid: 20) died, killed by signal 11 :( trying respawn ..."],
        ["!!! uWSGI process 20 got Segmentation Fault !!!", "*** backtrace of 20 ***",
         "DAMN ! worker 1 (pid: 20) died :( trying respawn ..."],
        [f"{stamp(START)} h web[70]: double free or corruption (out)", systemd(START + 1, "6/ABRT")],
    ],
)  # fmt: skip
def test_all_that_is_said_of_one_death_counts_once(lines: list[str]) -> None:
    (one,) = groups(*lines)
    assert one.count == 1


def test_two_logs_that_tell_of_the_same_many_deaths() -> None:
    hours = [START + HOUR * number for number in range(30)]
    parents = read(*(systemd(at + 1) for at in hours), name="messages")
    audits = read(*(audit(at, 500 + place) for place, at in enumerate(hours)), name="audit.log")
    tasks = read(*(celery(at + 2, pid=500 + place) for place, at in enumerate(hours)), name="celery.log")
    found = group((*parents, *audits, *tasks))
    assert [(one.count, len(one.reports)) for one in found] == [(30, 60)]


def test_a_number_that_comes_again_is_another_process() -> None:
    died = "DAMN ! worker 1 (pid: 20) died, killed by signal 11 :( trying respawn ..."
    lines = [audit(START, 20), f"{stamp(START + HOUR)} h uwsgi[1]: {died}"]
    assert sum(one.count for one in groups(*lines)) == 2


def test_a_storm_of_reports_takes_no_quadratic_time() -> None:
    events = read(*(celery(START + place // 1000, pid=place) for place in range(20_000)))
    begun = time.perf_counter()
    group(events)
    assert time.perf_counter() - begun < 20
