"""When a CPU quota counts as the cause, by counters as Linux 6.18 gave them (cpu.stat, cgroup version 1)."""

from __future__ import annotations

import pytest

from diag.collectors.cpu_quota import Quota
from diag.model.facts import Process, Thread
from diag.model.graph import Actor, How, Resource, Wait
from diag.model.snapshot import SeenThread
from diag.waits import throttled

RUNS = SeenThread(
    process=Process(pid=5, ppid=1, started=1, since=0.0, name="app", state="R"),
    thread=Thread(pid=5, tid=5, name="app", state="R"),
    wait=Wait(
        waiter=Actor(pid=5, started=1, process="app", tid=5),
        resource=Resource(kind="cpu", key="cpu", name="nothing: it runs"),
        how=How.RUNNING,
        words="runs",
    ),
)


def quota(periods: int, throttled: int) -> Quota:
    return Quota("/sys/fs/cgroup/cpu/box", 0.002, 0.1, periods, throttled)


THEN = quota(16, 15)


@pytest.mark.parametrize(
    ("now", "ran", "starved"),
    [
        (quota(26, 25), 0.02, True),
        (quota(26, 25), 0.5, False),  # throttled in each period, but it goes on
        (quota(26, 20), 0.02, False),  # it lacks a processor, not the quota
        (THEN, 0.0, False),  # nobody ran
    ],
)
def test_in_most_periods_and_hardly_any_time(now: Quota, ran: float, *, starved: bool) -> None:
    wait = throttled.link(RUNS, THEN, now, ran)
    assert (wait is not None) is starved
    if wait:
        assert wait.stuck
        assert "for 98% of the time" in wait.words
        assert wait.evidence[0].source.endswith("/cpu.stat")
