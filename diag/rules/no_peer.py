"""P003: a thread waits for the other end of a pipe or FIFO that nobody has open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import blocked_event_loop, chains, lost_wakeup, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "P003", "no-peer"
_FROM_ANYBODY = chains.MESSAGES | {"shared-signal"}
"""Kinds that any thread of whoever has them can give."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Nobody else has the other end, so nobody can end the wait."""
    graph = chains.Graph(snapshot)
    for wait in (*_without_partner(graph), *_on_own_ends(graph)):
        finding = _finding(graph, wait)
        # Whoever asks about this very process wants to hear of it; on the whole host it may be idle.
        if finding.severity is not Severity.INFO or wait.waiter.pid in snapshot.roots:
            yield finding


def _without_partner(graph: Graph) -> Iterator[Wait]:
    """Yield the waits for a pipe or FIFO whose other end nobody has open."""
    for wait in graph.stuck.values():
        if wait.resource.kind == "pipe" and wait.certain and not chains.active(wait):
            yield wait


def _on_own_ends(graph: Graph) -> Iterator[Wait]:
    """Yield the waits for what only the process itself has the other end of, and no thread of it can act."""
    told: set[int] = set()
    for ring in graph.rings():
        ends = [wait for wait in ring.waits if wait.resource.kind in chains.MESSAGES]
        if not ends or ring.pids <= told or not ring.kinds <= chains.MESSAGES | chains.IN_PROCESS:
            continue
        if any(_holds_up_loop(graph, wait) for wait in ring.waits):
            continue  # T006 tells it
        # Connections to itself that nobody is left to accept: P002.
        is_connected = all(wait.resource.mode != "connect" for wait in ends)
        if len(ring.pids) == 1 and is_connected and not may_go_on(graph, ring.waits):
            told.update(ring.pids)
            yield ends[0]


def _holds_up_loop(graph: Graph, wait: Wait) -> bool:
    seen = graph.seen(wait.waiter)
    frames = seen.stack.frames if seen and seen.stack else ()
    return seen is not None and (bool(seen.held_loop) or bool(blocked_event_loop.loop_around(frames)))


def may_go_on(graph: Graph, waits: Sequence[Wait]) -> bool:
    """Whether a thread or a signal may still end waits in a ring of messages to each other.

    A handler writes to the pipe that its own process reads: that is how signals reach event loops.
    """
    kinds = {wait.resource.kind for wait in waits}
    ends = [wait for wait in waits if wait.resource.kind in _FROM_ANYBODY]
    pids = {wait.waiter.pid for wait in waits}
    is_full = any(wait.resource.mode == "write" for wait in ends)
    if not ends or (is_full and len(pids) > 1):
        return False
    signalled = len(pids) == 1 or "shared-signal" in kinds
    processes = [graph.snapshot.process(pid) for pid in pids] if signalled and not is_full else []
    is_woken = any(process is None or lost_wakeup.may_be_woken(process) for process in processes)
    return is_woken or bool(graph.bystanders(waits))


def _finding(graph: Graph, wait: Wait) -> Finding:
    opening = wait.fd is None or wait.fd < 0
    # Whoever knows its path may open it at any time: a service that reads its requests keeps a write end
    # itself, so that no client's close is the end of the file.
    path = wait.resource.path or ""
    idle = wait.resource.mode == "read" and (opening or (path != "" and not path.endswith(" (deleted)")))
    victims = tuple(one for one in graph.victims([wait]) if one != wait.waiter)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{phrases.who(wait.waiter)} {phrases.hop(wait)}"
        + (f"; {phrases.waiting(len(victims))} behind it" if victims else ""),
        severity=Severity.INFO if idle and not victims else Severity.CRITICAL,
        confidence=Confidence.CERTAIN,
        culprit=wait.waiter,
        victims=victims,
        resource=wait.resource,
        chain=chains.links(graph.into(wait)),
        evidence=wait.evidence,
        against=("a service may wait like this for its next client, as it should",) if idle else (),
        remedy=tuple(_remedy(wait, opening=opening or idle)),
        check=tuple(_check(wait)),
    )


def _remedy(wait: Wait, *, opening: bool) -> Iterator[str]:
    if opening:
        other = "reads from" if wait.resource.mode == "write" else "writes to"
        yield f"start the program that {other} {wait.resource.path or 'it'}, or find out why it has ended"
        yield "in the code: open the FIFO with O_NONBLOCK, or with a time limit, and report what is missing"
    else:
        yield f"kill -KILL {wait.waiter.pid}: nobody else can end this wait"
        yield (
            "in the code: close the write end in the process that only reads, right after fork or Popen; the "
            "end of file comes when the last copy of the write end is closed"
        )


def _check(wait: Wait) -> Iterator[str]:
    if wait.resource.path:
        yield f"lsof {phrases.quote(wait.resource.path)}"
    else:
        yield f"ls -l /proc/{wait.waiter.pid}/fd; lsof -p {wait.waiter.pid} +E"
