"""How often a cgroup was kept from running because its CPU quota was used up: cpu.stat of both versions.

Documentation/scheduler/sched-bwc.rst; a limit counts for all groups below the one that has it.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.process import parse_flat
from diag.collectors.setting import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

_V1 = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct")
_V2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_LEVELS = 16


class Quota(NamedTuple):
    """The counters of one cgroup that has a quota, at one instant."""

    directory: str
    quota: float  # seconds of CPU time that may be used in each period
    period: float  # seconds
    periods: int  # that have passed
    throttled: int  # periods in which it had used it up


def collect(host: Host, cgroup: str | None) -> tuple[Quota, ...]:
    """Read the counters of each cgroup with a quota that a process is in; ``cgroup``: /proc/PID/cgroup."""
    found = []
    for directory in _directories(cgroup or ""):
        limit = text(host, f"{directory}/cpu.max") or _limit_v1(host, directory)
        if not limit or not all(word.isdigit() for word in limit.split()):  # "max 100000", "-1 100000"
            continue
        stat = parse_flat(text(host, f"{directory}/cpu.stat") or "")
        if "nr_periods" in stat:
            found.append(_quota(directory, limit, {key: int(value) for key, value in stat.items() if value}))
    return tuple(found)


def _quota(directory: str, limit: str, stat: dict[str, int]) -> Quota:
    quota, period = (int(word) / 1e6 for word in limit.split())
    return Quota(directory, quota, period, stat["nr_periods"], stat.get("nr_throttled", 0))


def _limit_v1(host: Host, directory: str) -> str | None:
    quota, period = (text(host, f"{directory}/cpu.cfs_{name}_us") for name in ("quota", "period"))
    return f"{quota} {period}" if quota and period else None


def _directories(cgroup: str) -> Iterator[str]:
    """Where the controller of the process's own cgroup may be, and of all above; not all of them exist."""
    for line in cgroup.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        roots = _V2 if hierarchy == "0" else _V1 if "cpu" in controllers.split(",") else ()
        for _ in range(_LEVELS):
            if path in ("", "/"):
                break
            yield from (f"{root}{path}" for root in roots)
            path = posixpath.dirname(path)
