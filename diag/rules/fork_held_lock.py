"""T003: a thread waits for a lock that fork copied while it was locked; its owner does not exist here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

CODE, SLUG = "T003", "fork-held-lock"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A forked process waits for an in-process lock whose owner stayed behind in the parent."""
    graph = chains.Graph(snapshot)
    by_lock: dict[str, list[Wait]] = {}
    for wait in graph.stuck.values():
        if wait.resource.kind != "queued-work" and any(
            chains.is_copied(wait, hold) for hold in chains.active(wait)
        ):
            by_lock.setdefault(wait.resource.key, []).append(wait)
    for waits in by_lock.values():
        yield _finding(graph, waits)


def _finding(graph: Graph, waits: list[Wait]) -> Finding:
    first = waits[0]
    hold = next(hold for hold in chains.active(first) if hold.inherited)
    victims = (*(wait.waiter for wait in waits[1:]), *graph.victims(waits))
    more = f"; {phrases.waiting(len(victims))} behind it" if victims else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {chains.short(first.resource)}, "
            f"which was locked when pid {hold.taker} forked this process: the thread that had it does not "
            f"exist here{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=chains.confidence([first]),
        culprit=first.waiter,
        victims=victims,
        resource=first.resource,
        chain=chains.links([first]),
        evidence=chains.evidence([first]),
        against=()
        if hold.certain
        else ("the lock may have been taken by a function that has returned, in a thread that goes on",),
        remedy=(
            f"kill -KILL {first.waiter.pid}: nobody can ever release the lock in this process; its parent "
            "may start another one, which may hang in the same way",
            "in the code: fork before starting threads, or use the start method spawn or forkserver; or make "
            "the lock anew in the child (os.register_at_fork(after_in_child=...))",
        ),
        check=(
            *phrases.check_stack(first.waiter.pid),
            f"cmp /proc/{first.waiter.pid}/auxv /proc/{hold.taker}/auxv",
        ),
    )
