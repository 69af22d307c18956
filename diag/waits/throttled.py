"""Threads that are ready to run, and are kept from it by the CPU quota of their cgroup. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import How, Resource

if TYPE_CHECKING:
    from diag.collectors.cpu_quota import Quota
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

KIND = "throttled"
MOST_PERIODS = 0.9
"""Share of the periods in which the quota was used up: a busy program with a fitting quota stays below."""
MOST_CPU = 0.2
"""Share of the time for which a thread may have run all the same: with more it is merely slower."""


def link(seen: SeenThread, then: Quota, now: Quota, ran: float) -> Wait | None:
    """Say for how much of the time a ready thread could not run; None where that was not most of it.

    ``ran``: for which share of the time it did. The group's own sum of waiting is of no use: it counts each
    processor, and is brought up to date only when a group that is in debt may run again.
    """
    periods, throttled = now.periods - then.periods, now.throttled - then.throttled
    if seen.wait is None or periods <= 0 or throttled / periods < MOST_PERIODS or ran > MOST_CPU:
        return None
    words = (
        f"was not let run for {1 - ran:.0%} of the time: its cgroup has used up its CPU quota, "
        f"{1000 * now.quota:g} of each {1000 * now.period:g} ms"
    )
    text = f"{periods} periods, {throttled} of them throttled; the thread ran for {ran:.1%} of the time"
    return replace(
        seen.wait,
        resource=Resource(
            kind=KIND, key=f"{KIND}:{now.directory}", name="CPU time of its cgroup", path=now.directory
        ),
        how=How.BLOCKED,
        words=words,
        stuck=True,
        certain=False,
        evidence=(Evidence(source=f"{now.directory}/cpu.stat", text=text), *seen.wait.evidence),
    )
