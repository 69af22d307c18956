"""From the files of locks to who holds them, who waits, and along the chain to what keeps the holder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate import lock_views, soft_locks, sqlite_waits, suspects
from diag.investigate.inquiry import Inquiry
from diag.investigate.lock_graph import LockGraph
from diag.model.facts import Gap
from diag.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.host import Host
    from diag.investigate.lock_files import LockFiles
    from diag.investigate.targets import Target
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

LOCK_RULES = frozenset({"L001", "L002", "L003", "L004", "L005", "L006", "L007", "L008"})


def follow(host: Host, files: LockFiles, *, pause: bool) -> Snapshot:
    """Collect all that bears on the locks of ``files``: their targets', or without targets all locks."""
    inquiry = Inquiry(host, pause=pause)
    asked = files.targets
    graph = LockGraph(inquiry, files)
    graph.add_blocked()
    soft = soft_locks.collect(inquiry, graph)
    suspects.add_pollers(inquiry, graph)
    sqlite_waits.add(inquiry, graph)
    threads: tuple[SeenThread, ...] = ()
    waits: tuple[Wait, ...] = ()
    if graph.asked_waits():
        from diag.investigate import lock_chains  # noqa: PLC0415 - as below

        threads, waits = lock_chains.follow(inquiry, graph)
    elif asked and any(map(graph.files.is_asked, graph.held())):
        # It loads a parser of Python source: as long as all the rest of a look at a lock nobody waits for.
        from diag.investigate import lock_lines  # noqa: PLC0415

        lock_lines.describe_holds(inquiry, graph)
    return Snapshot(
        processes=tuple(process for process in inquiry.processes.values() if process),
        threads=threads,
        locks=lock_views.locks(graph),
        soft_locks=soft,
        asked=tuple(lock_views.asked(graph, target) for target in asked),
        waits=(*graph.waits, *waits),
        gaps=(
            *inquiry.gaps,
            *lock_views.gaps(graph, LOCK_RULES),
            *(() if asked else lock_views.outside(graph, lock_views.UNLISTED, frozenset())),
            *_other_waits(asked),
        ),
    )


def _other_waits(asked: Sequence[Target]) -> tuple[Gap, ...]:
    """Say that a FIFO, socket or device has other waits than file locks."""
    return tuple(
        Gap(
            source=target.path,
            hides="who waits to open, read or write it",
            reason=f"it is a {target.form}: those waits are no file locks",
            hint="ask for the process that hangs: diag stacks PID",
        )
        for target in asked
        if target.form in ("fifo", "socket", "device")
    )
