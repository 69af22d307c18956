"""Processes that want to run and may not: their cgroup has used up its CPU quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import cpu_quota
from diag.waits import throttled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.collectors.cpu_quota import Quota
    from diag.investigate.inquiry import Inquiry
    from diag.model.snapshot import SeenThread


class Quotas:
    """The counters of the cgroups of some processes, read once now and once in ``mark``."""

    def __init__(self, inquiry: Inquiry, pids: Iterable[int]) -> None:
        self._inquiry = inquiry
        known = [process for pid in sorted(set(pids)) if (process := inquiry.process(pid)) and process.cgroup]
        self._before = {
            cgroup: quotas
            for cgroup in sorted({process.cgroup or "" for process in known})
            if (quotas := cpu_quota.collect(inquiry.host, cgroup))
        }
        self._pids = [process.pid for process in known if process.cgroup in self._before]
        self._began, self._cpu = self._used()

    def _used(self) -> tuple[float, dict[tuple[int, int], int]]:
        """The time, and the CPU ticks of each thread of processes with a quota."""
        if not self._pids:
            return 0.0, {}
        threads = self._inquiry.again(self._pids)
        cpu = {(pid, thread.tid): thread.cpu for pid, group in threads.items() for thread in group}
        return self._inquiry.host.clock().monotonic, cpu

    def mark(self, threads: tuple[SeenThread, ...]) -> tuple[SeenThread, ...]:
        """Say of threads that run, or would, that they may not, where that was so most of the time."""
        if not self._pids:
            return threads
        after = {cgroup: cpu_quota.collect(self._inquiry.host, cgroup) for cgroup in self._before}
        ended, cpu = self._used()
        ticks = max((ended - self._began) * self._inquiry.host.info.ticks, 1.0)
        ran = {key: (cpu[key] - ticks_then) / ticks for key, ticks_then in self._cpu.items() if key in cpu}
        return tuple(self._marked(seen, after.get(seen.process.cgroup or "", ()), ran) for seen in threads)

    def _marked(
        self, seen: SeenThread, after: tuple[Quota, ...], ran: dict[tuple[int, int], float]
    ) -> SeenThread:
        share = ran.get((seen.process.pid, seen.thread.tid))
        if seen.wait is None or seen.wait.resource.kind != "cpu" or share is None:
            return seen
        known = {quota.directory: quota for quota in self._before.get(seen.process.cgroup or "", ())}
        for now in after:
            then = known.get(now.directory)
            if then and (wait := throttled.link(seen, then, now, share)):
                return replace(seen, wait=wait)
        return seen
