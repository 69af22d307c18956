"""P002: processes wait for each other's messages in a ring, or one for its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import blocked_event_loop, chains, phrases, pipe_deadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph, Ring

CODE, SLUG = "P002", "call-cycle"
_OTHERS = frozenset({"file-lock", "database-lock", "queued-work", "shared-signal"})
"""What makes a ring one of L002, D003, T005 or T010."""


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Processes form a ring of messages, and it is no full pipe between parent and child."""
    graph = chains.Graph(snapshot)
    for ring in graph.rings():
        messages = ring.kinds & chains.MESSAGES
        if not messages or ring.kinds & _OTHERS or pipe_deadlock.applies(ring):
            continue
        if len(ring.pids) == 1 and not _calls_itself(graph, ring):
            continue
        if graph.is_watched(ring.waits):
            continue  # who merely looks after idle workers owes them no message
        # Both ends of an idle connection read: a ring only where no other thread could say a word.
        if not graph.bystanders(ring.waits):
            yield _finding(ring)


def _calls_itself(graph: Graph, ring: Ring) -> bool:
    """Whether a process waits for its own server, which has nobody left who could accept the connection.

    Where an event loop stands still for that, T006 tells it.
    """
    stacks = [seen.stack for wait in ring.waits if (seen := graph.seen(wait.waiter)) and seen.stack]
    if any(blocked_event_loop.loop_around(stack.frames) for stack in stacks):
        return False
    return any(wait.resource.mode == "connect" for wait in ring.waits)


def _finding(ring: Ring) -> Finding:
    first = ring.waits[0]
    pids = sorted(ring.pids)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=chains.hops(ring.waits),
        severity=Severity.CRITICAL,
        # That nothing is on its way between them is seen; that the peer owes an answer is inferred.
        confidence=Confidence.LIKELY,
        culprit=first.waiter,
        victims=(*(wait.waiter for wait in ring.waits[1:]), *(wait.waiter for wait in ring.victims)),
        resource=first.resource,
        chain=chains.links(ring.waits),
        evidence=chains.evidence(ring.waits),
        against=("a signal handler or a timer of one of the processes could still send something",),
        remedy=(
            f"kill -KILL {first.waiter.pid} (or any other of the ring) breaks it: the others see the "
            "connection close and go on or fail, the work of the killed one is lost",
            "in the code: do not call back into a caller while it waits for an answer; serve requests in "
            "another thread than the one that makes them; and put a time limit on every call",
        ),
        check=(*phrases.check_stack(*pids), "ss -xp; ss -tnp"),
    )
