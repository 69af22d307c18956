"""T012: an in-process lock was taken and never released: an exception or a return went past it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.graph import Hold, Wait
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph

_IN_PYTHON = (
    "in the code: take the lock by `with` (`async with`), or release it in a finally: that begins right "
    "behind the acquire()"
)
_IN_C = (
    "in the code: unlock on every way out of the thread, also where it is cancelled (pthread_cleanup_push), "
    "by a guard object in C++, or make the mutex robust"
)
CODE, SLUG = "T012", "leaked-lock"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Threads or tasks wait for a lock that nobody who lives stands inside."""
    graph = chains.Graph(snapshot)
    by_lock: dict[str, list[Wait]] = {}
    for wait in graph.stuck.values():
        if any(hold.abandoned for hold in wait.holds):
            by_lock.setdefault(wait.resource.key, []).append(wait)
    for waits in by_lock.values():
        hold = next(hold for wait in waits for hold in wait.holds if hold.abandoned)
        yield _finding(graph, waits, hold)


def _finding(graph: Graph, waits: list[Wait], hold: Hold) -> Finding:
    first = waits[0]
    pid = first.waiter.pid
    victims = (*(wait.waiter for wait in waits), *graph.victims(waits))
    more = f"; {phrases.waiting(len(victims) - 1)} behind it" if len(victims) > 1 else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {chains.short(first.resource)}, "
            f"which was taken{phrases.at(hold.taken_at)} and never released: {_gone(hold)}{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=chains.confidence([first]),
        culprit=replace(hold.holder, where=hold.taken_at),
        victims=victims,
        resource=first.resource,
        chain=chains.links([first]),
        evidence=chains.evidence(waits),
        against=()
        if hold.certain
        else ("code in another file may have taken the lock, and still give it back",),
        remedy=(
            f"restart pid {pid}: nobody in it can release the lock; its log may hold the exception that went "
            "past the release",
            _IN_C if first.resource.kind == "native-lock" else _IN_PYTHON,
        ),
        check=phrases.check_stack(pid),
    )


def _gone(hold: Hold) -> str:
    if hold.certain:
        return "the thread that took it has ended"
    return "nobody stands inside it any more, an exception or a return has gone past its release"
