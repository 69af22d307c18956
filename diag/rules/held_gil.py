"""T007: a thread sleeps in native code and keeps the interpreter's global lock meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import How
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T007", "held-gil"
_NOT_CALLS = frozenset(
    {"cpu", "gil", "unknown", "stopped", "traced", "frozen", "throttled", "ended", "collect"}
)


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """In two looks the same thread had the GIL and slept in the same system call."""
    graph = chains.Graph(snapshot)
    for seen in snapshot.threads:
        if _keeps_gil(seen) and seen.wait and seen.wait.stuck and seen.wait.resource.kind not in _NOT_CALLS:
            yield _finding(graph, seen, seen.wait)


def _keeps_gil(seen: SeenThread) -> bool:
    stacks = [seen.stack, *seen.others]
    return len(stacks) > 1 and all(stack is not None and stack.owns_gil for stack in stacks)


def _finding(graph: Graph, seen: SeenThread, wait: Wait) -> Finding:
    starved = _starved(graph, wait)
    timed = wait.how is How.TIMED
    pid = wait.waiter.pid
    source = f"py-spy dump --json --pid {pid}"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(wait.waiter)} keeps the GIL while it sleeps in native code: {wait.words}; "
            f"{phrases.waiting(len(starved))} for the GIL"
        ),
        severity=Severity.WARNING if timed else Severity.CRITICAL,
        confidence=Confidence.CERTAIN,
        culprit=wait.waiter,
        victims=starved,
        resource=wait.resource,
        chain=chains.links([wait]),
        evidence=(
            Evidence(source=source, text=f"thread {seen.thread.tid}: owns_gil in both looks"),
            *wait.evidence,
        ),
        remedy=(
            f"see which library it is in: py-spy dump --native --pid {pid}; kill -KILL {pid} ends it",
            "in the code: release the GIL around the blocking call (Py_BEGIN_ALLOW_THREADS, 'with nogil' in "
            "Cython, ctypes.CDLL instead of PyDLL)",
        ),
        check=(source, f"cat /proc/{pid}/task/{seen.thread.tid}/syscall"),
    )


def _starved(graph: Graph, wait: Wait) -> tuple[Actor, ...]:
    return tuple(
        seen.wait.waiter
        for seen in graph.threads(wait.waiter.pid)
        if seen.wait and seen.wait.resource.kind == "gil"
    )
