"""P001: a process waits for its child, which waits to write into a pipe that the first does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph, Ring

CODE, SLUG = "P001", "pipe-deadlock"
_PIPES = ("pipe", "pty")
_KINDS = frozenset({"pipe", "pty", "child"}) | chains.IN_PROCESS


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Processes form a ring in which somebody waits for room in a full pipe."""
    graph = chains.Graph(snapshot)
    for ring in graph.rings():
        if applies(ring):
            yield _finding(graph, ring, _parent(snapshot, ring))


def applies(ring: Ring) -> bool:
    """Whether a ring goes through a full pipe, and through nothing but pipes, children and threads."""
    return len(ring.pids) > 1 and ring.kinds <= _KINDS and any(_writers(ring))


def _writers(ring: Ring) -> Iterator[Wait]:
    return (wait for wait in ring.waits if wait.resource.kind in _PIPES and wait.resource.mode == "write")


def _parent(snapshot: Snapshot, ring: Ring) -> int:
    """The process that made the others: it decides in which order pipes are read and children awaited."""
    parents = {process.ppid for pid in ring.pids if (process := snapshot.process(pid))}
    return next(iter(sorted(parents & ring.pids)), ring.waits[0].waiter.pid)


def _finding(graph: Graph, ring: Ring, parent: int) -> Finding:
    waits = chains.starting_with(ring.waits, parent)
    culprit = waits[0].waiter
    writer = next((wait for wait in _writers(ring) if wait.waiter.pid != parent), next(_writers(ring)))
    others = graph.bystanders(ring.waits)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=chains.hops(waits),
        severity=Severity.CRITICAL,
        confidence=Confidence.LIKELY if others else chains.confidence(ring.waits),
        culprit=culprit,
        victims=(
            *(wait.waiter for wait in waits[1:]),
            *(wait.waiter for wait in ring.victims),
        ),
        resource=writer.resource,
        chain=chains.links(waits),
        evidence=chains.evidence(waits),
        against=tuple(
            f"thread {seen.thread.tid} of pid {seen.process.pid} could read the pipe, but it does something "
            f"else: {seen.wait.words if seen.wait else 'unknown'}"
            for seen in others[:3]
        ),
        remedy=(
            f"kill -KILL {writer.waiter.pid} lets pid {culprit.pid} go on: the killed process's work is "
            "lost, and the other one sees it end by a signal",
            "in the code: subprocess.Popen.communicate() instead of wait() or reading one pipe to its end; "
            "or a thread that reads each pipe; or give the child a file or DEVNULL",
        ),
        check=(
            f"cat /proc/{writer.waiter.pid}/wchan /proc/{culprit.pid}/wchan",
            f"ls -l /proc/{writer.waiter.pid}/fd /proc/{culprit.pid}/fd",
        ),
    )
