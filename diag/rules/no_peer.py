"""P003: a thread waits for the other end of a pipe or FIFO that nobody has open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "P003", "no-peer"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Nobody else has the other end, so nobody can end the wait."""
    graph = chains.Graph(snapshot)
    for wait in graph.stuck.values():
        if wait.resource.kind != "pipe" or chains.active(wait) or not wait.certain or not _alone(graph, wait):
            continue
        finding = _finding(graph, wait)
        # Whoever asks about this very process wants to hear of it; on the whole host it may be idle.
        if finding.severity is not Severity.INFO or wait.waiter.pid in snapshot.roots:
            yield finding


def _alone(graph: Graph, wait: Wait) -> bool:
    """Whether no other thread of the process can be the one at the other end."""
    if wait.fd is None or wait.fd < 0:  # it is being opened
        return True
    others = (seen for seen in graph.threads(wait.waiter.pid) if seen.thread.tid != wait.waiter.tid)
    return not any(True for _ in others)


def _finding(graph: Graph, wait: Wait) -> Finding:
    opening = wait.fd is None or wait.fd < 0
    # Whoever knows its path may open it at any time: a service that reads its requests keeps a write end
    # itself, so that no client's close is the end of the file.
    path = wait.resource.path or ""
    idle = wait.resource.mode == "read" and (opening or (path != "" and not path.endswith(" (deleted)")))
    victims = graph.victims([wait])
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{phrases.who(wait.waiter)} {wait.words}"
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
