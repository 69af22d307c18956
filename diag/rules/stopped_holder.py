"""L004: the holder of a lock does not run: it is stopped, in a tracing stop, or frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Finding, Severity
from diag.rules import phrases
from diag.rules.lock_causes import End, causes, halted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Process
    from diag.model.snapshot import Snapshot

CODE, SLUG = "L004", "stopped-holder"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Others wait for a lock whose holder can not go on."""
    for cause in causes(snapshot, End.HALTED):
        holder = cause.hold.holder
        process = snapshot.process(holder.pid)
        if process is None:
            continue
        state = halted(process)
        yield Finding(
            code=CODE,
            slug=SLUG,
            summary=(
                f"{phrases.who(holder)} holds the {cause.hold.resource.name}"
                f"{phrases.at(cause.hold.taken_at)} but is {state}; "
                f"{phrases.waiting(len(cause.victims))} for it"
            ),
            severity=Severity.CRITICAL,
            confidence=cause.confidence,
            culprit=holder,
            victims=cause.actors,
            resource=cause.hold.resource,
            chain=cause.chain,
            evidence=(_state(process), *cause.evidence),
            remedy=tuple(_remedy(process)),
            check=(
                f"grep -E '^(State|TracerPid)' /proc/{holder.pid}/status",
                *phrases.check_lock(cause.hold.resource),
            ),
        )


def _state(process: Process) -> Evidence:
    if process.frozen:
        text = f"frozen: {process.cgroup}"
        return Evidence(source=f"/proc/{process.pid}/cgroup and its control files", text=text)
    text = f"State: {process.state}, TracerPid: {process.tracer or 0}"
    return Evidence(source=f"/proc/{process.pid}/status", text=text)


def _remedy(process: Process) -> Iterator[str]:
    if process.frozen:
        yield "thaw its cgroup (systemctl thaw UNIT, docker unpause, or write 0 to cgroup.freeze)"
    elif process.state == "t" and process.tracer:
        yield f"let the tracer go on or end it: pid {process.tracer} (a debugger left attached?)"
    else:
        yield f"kill -CONT {process.pid} lets it go on; it loses nothing"
        yield "find out who stopped it: Ctrl-Z or reading the terminal from the background, or a SIGSTOP"
