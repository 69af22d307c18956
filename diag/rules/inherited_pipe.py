"""P006: a thread waits for the end of a pipe that a process keeps open which only inherited it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import How
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "P006", "inherited-pipe"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """The child that wrote a pipe has ended; whoever else has the write end does not know that."""
    graph = chains.Graph(snapshot)
    for key, wait in graph.stuck.items():
        holds = chains.active(wait)
        if wait.resource.kind != "pipe" or not holds or not all(hold.inherited for hold in holds):
            continue
        if key in graph.dead:
            continue  # who keeps it waits for the reader in turn: P001 or P002
        # On standard input it may be what the program is for; it is not where somebody waits for its end.
        if wait.fd == 0 and not any(_awaits(graph, wait)):
            continue
        yield _finding(graph, wait)


def _awaits(graph: Graph, wait: Wait) -> Iterator[Wait]:
    """Yield the waits of a parent for the end of the process that reads."""
    for other in graph.stuck.values():
        if other.resource.kind == "child" and any(hold.holder.pid == wait.waiter.pid for hold in other.holds):
            yield other


def _finding(graph: Graph, wait: Wait) -> Finding:
    holds = chains.active(wait)
    keeper, child = holds[0].holder, holds[0].taker
    behind = graph.victims([wait])
    whose = (
        f"its child {child}, which wrote it, has ended" if child else "nobody who knows of it writes to it"
    )
    more = f"; {phrases.waiting(len(behind))} behind it" if behind else ""
    others = f" and {len(holds) - 1} more" if len(holds) > 1 else ""
    busy = [seen for seen in graph.threads(keeper.pid) if seen.wait and seen.wait.how is How.RUNNING]
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(wait.waiter)} waits{phrases.at(wait.where)} for the end of {wait.resource.name}: "
            f"{whose}, but {phrases.who(keeper)}{others} has inherited the write end and keeps it open{more}"
        ),
        severity=Severity.WARNING if busy else Severity.CRITICAL,
        confidence=Confidence.CERTAIN if all(hold.certain for hold in holds) else Confidence.LIKELY,
        culprit=keeper,
        victims=(wait.waiter, *behind),
        resource=wait.resource,
        chain=chains.links([wait]),
        evidence=chains.evidence([wait]),
        against=(f"pid {keeper.pid} may end by itself, and the wait with it",),
        remedy=(
            f"kill {keeper.pid}, or restart it with its output elsewhere, if it can be spared: the reader "
            "then sees the end of the pipe and goes on with all that was written",
            "in the code: start daemons with stdout and stderr on a file or /dev/null (`cmd >log 2>&1 &`), "
            "and let nothing be inherited: close_fds=True (Python 2 has it off), O_CLOEXEC; or wait for the "
            "child's end and not for that of its output",
        ),
        check=(
            f"ls -l /proc/{wait.waiter.pid}/fd /proc/{keeper.pid}/fd | grep pipe:",
            f"ps -o pid,ppid,stat,args -p {keeper.pid}",
        ),
    )
