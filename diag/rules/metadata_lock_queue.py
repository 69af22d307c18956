"""D004: a statement that changes a table waits behind an open transaction, and everybody behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.rules import chains, database_locks, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.databases import LockWait, Session
    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Graph
    from diag.rules.database_locks import Blocked

CODE, SLUG = "D004", "metadata-lock-queue"
_KINDS = frozenset({"metadata", "relation"})


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """A session that waits for a metadata lock is itself in the way of others, or waits for an idle one."""
    graph = chains.Graph(snapshot)
    for one in database_locks.blocked(snapshot, graph):
        if one.lock.kind not in _KINDS or not (middle := _middle(one)):
            continue
        behind = [n for n in one.waiters if n != middle.id]
        if behind or one.is_idle:
            yield _finding(graph, one, middle, behind)


def _middle(one: Blocked) -> Session | None:
    """The one that waits for the root itself: the statement that changes the table."""
    direct: list[LockWait] = [
        wait for wait in one.database.waits if wait.blocker == one.lock.blocker and not wait.queued
    ]
    return one.database.session(direct[0].waiter) if direct else None


def _finding(graph: Graph, one: Blocked, middle: Session, behind: list[int]) -> Finding:
    seen = database_locks.doing(graph, one.holder)
    words = phrases.does(seen.wait.words) if seen and seen.wait else "does something else"
    idle = f", which {words}," if seen else ""
    state = (
        f"has sent no statement for {one.blocker.seconds:.0f} s"
        if one.is_idle and one.blocker and one.blocker.seconds is not None
        else f"runs {one.blocker.statement}"
        if one.blocker and one.blocker.statement
        else "is still open"
    )
    queue = f"; {phrases.waiting(len(behind))} behind it" if behind else ""
    path = database_locks.chain_of(one, graph)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"session {middle.id} of {one.database.server.name} runs {middle.statement or 'a statement'} and "
            f"waits for the {one.lock.name} that {one.named}{database_locks.where(one)}{idle} keeps by its "
            f"open transaction: it {state}{queue}"
        ),
        severity=Severity.CRITICAL if behind else Severity.WARNING,
        confidence=_confidence(one, middle),
        culprit=one.holder,
        victims=database_locks.victims(graph, one),
        resource=database_locks.resource(one),
        chain=chains.links(path),
        evidence=database_locks.evidence(one, seen.wait.evidence if seen and seen.wait else ()),
        against=() if one.lock.certain else (_INFERRED,),
        remedy=(
            database_locks.kill(one),
            f"or end the statement in the middle (session {middle.id}): everybody behind it goes on at once",
            "in the code: end transactions that only read; change tables with a short lock wait timeout "
            "(lock_wait_timeout, ALTER TABLE ... WAIT n; PostgreSQL: lock_timeout) and try again",
        ),
        check=(*phrases.check_stack(one.holder.pid if one.holder else 0), "diag db DSN"),
    )


def _confidence(one: Blocked, middle: Session) -> Confidence:
    """Inferred of one transaction: likely; of each of several: possible."""
    if one.lock.certain:
        return Confidence.CERTAIN
    return Confidence.LIKELY if len(one.database.roots(middle.id)) == 1 else Confidence.POSSIBLE


_INFERRED = (
    "the server does not list metadata locks, so who has this one is inferred: the transaction was open "
    "before the first waiter came; performance_schema=ON, or MariaDB's INSTALL SONAME 'metadata_lock_info', "
    "would tell"
)
