"""Processes that do not run at all until somebody lets them: what L004, P004 and P005 say of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.graph import How

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.facts import Process
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread, Snapshot

KINDS = frozenset({"stopped", "traced", "frozen"})
"""Kinds of wait of threads that do not run."""
LOOKS = 10.0
"""Seconds that a debugger may look at a process: pystack and gdb took 3 for 500 threads (measured)."""


def all_halted(threads: Sequence[SeenThread]) -> bool:
    """Whether no thread of a process runs; a traced one that goes on between its stops does."""
    kinds = [seen.wait.resource.kind if seen.wait and not seen.moved else "" for seen in threads]
    return bool(kinds) and all(kind in KINDS for kind in kinds)


def starved(threads: Sequence[SeenThread]) -> Wait | None:
    """The wait of a thread for CPU time that its cgroup does not get, where no thread of the process runs."""
    waits = [seen.wait for seen in threads if seen.wait]
    if any(wait.how is How.RUNNING for wait in waits):
        return None
    return next((wait for wait in waits if wait.resource.kind == "throttled"), None)


def state(snapshot: Snapshot, process: Process) -> str:
    """Say in which way a process does not run, and by whom, as far as the kernel tells."""
    if process.frozen:
        return "frozen by its cgroup"
    if process.state == "t" and process.tracer:
        tracer = snapshot.process(process.tracer)
        return f"held in a tracing stop by pid {process.tracer}{f' ({tracer.name})' if tracer else ''}"
    return "stopped (SIGSTOP or job control)"


def is_looked_at(snapshot: Snapshot, process: Process) -> bool:
    """Whether a debugger may just be looking: a tracing stop that may be a few seconds old."""
    if process.frozen or process.state != "t":
        return False
    main = next((seen for seen in snapshot.seen(process.pid) if seen.thread.tid == process.pid), None)
    since = main.thread.last_ran if main else None
    return since is None or not snapshot.taken_at or snapshot.taken_at - since < LOOKS


AGAINST_A_LOOK = (
    f"a debugger stops a process for some seconds to look at it: look again in {LOOKS:.0f} s, it may be over"
)


def evidence(process: Process) -> Evidence:
    """The kernel's words on why it does not run."""
    if process.frozen:
        text = f"frozen: {process.cgroup}"
        return Evidence(source=f"/proc/{process.pid}/cgroup and its control files", text=text)
    text = f"State: {process.state}, TracerPid: {process.tracer or 0}"
    return Evidence(source=f"/proc/{process.pid}/status", text=text)


def remedy(process: Process) -> Iterator[str]:
    """How to let it go on."""
    if process.frozen:
        yield "thaw its cgroup (systemctl thaw UNIT, docker unpause, or write 0 to cgroup.freeze)"
    elif process.state == "t" and process.tracer:
        yield f"let the tracer go on or end it: pid {process.tracer} (a debugger left attached?)"
    else:
        yield f"kill -CONT {process.pid} lets it go on; it loses nothing"
        yield "find out who stopped it: Ctrl-Z or reading the terminal from the background, or a SIGSTOP"


def check(process: Process) -> str:
    """The command that shows it by hand."""
    return f"grep -E '^(State|TracerPid)' /proc/{process.pid}/status; cat /proc/{process.pid}/cgroup"
