"""What diag can see on this host. A new check is one function and one line in ``CHECKS``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import setting as settings
from diag.investigate.sights import logs, processes
from diag.model.facts import Gap
from diag.model.finding import Blind
from diag.model.report import Report
from diag.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.host import Host
    from diag.model.sight import Setting, Sight

CHECKS: tuple[Callable[[Host, Setting], Sight | None], ...] = (
    processes.reader,
    processes.others,
    processes.stacks,
    processes.namespace,
    processes.hidden_pids,
    processes.lock_table,
    processes.descriptions,
    processes.freezers,
    logs.crash_lines,
    logs.kernel_log,
    logs.journal,
    logs.log_files,
    logs.cores,
    processes.pythons,
)


def investigate(host: Host, command: tuple[str, ...]) -> Report:
    """Try every kind of evidence once; what is hidden becomes a gap."""
    taken_at = host.clock().wall
    setting = settings.collect(host)
    sights = tuple(sight for check in CHECKS if (sight := check(host, setting)))
    gaps = tuple(
        Gap(
            source=sight.what,
            hides=sight.what,
            reason=sight.detail,
            hint=sight.lifts or "",
            blinds=sight.blinds,
        )
        for sight in sights
        if sight.can is False
    )
    codes = sorted(frozenset().union(*(gap.blinds for gap in gaps)))
    return Report(
        command=command,
        view="doctor",
        snapshot=Snapshot(sights=sights, gaps=gaps),
        verdicts=tuple(
            Blind(code=code, gaps=tuple(gap for gap in gaps if code in gap.blinds)) for code in codes
        ),
        taken_at=taken_at,
    )
