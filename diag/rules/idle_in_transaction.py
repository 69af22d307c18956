"""D002: a client keeps database locks while it does something else; that something is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import Actor
from diag.rules import chains, database_locks, phrases, saturated_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.chains import Graph
    from diag.rules.database_locks import Blocked

CODE, SLUG = "D002", "idle-in-transaction"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Sessions wait for the lock of one whose client has sent nothing for a while, or is gone."""
    graph = chains.Graph(snapshot)
    pools = {one.blocker.id for one in saturated_pool.blocked(snapshot, graph) if one.blocker}
    for one in database_locks.blocked(snapshot, graph):
        if one.lock.kind in ("metadata", "relation") or database_locks.in_ring(one, graph):
            continue  # D004, D003 and D001 tell that
        if one.blocker is None or (one.is_idle and one.blocker.id not in pools):
            yield _finding(graph, one)


def _finding(graph: Graph, one: Blocked) -> Finding:
    seen = database_locks.doing(graph, one.holder)
    path = database_locks.chain_of(one, graph)
    idle = one.blocker.seconds if one.blocker else None
    last = (
        f"; its last statement was {one.blocker.statement}" if one.blocker and one.blocker.statement else ""
    )
    what = (
        f"has sent no statement for {idle:.0f} s while it {_doing(seen)}{last}"
        if idle is not None
        else "belongs to no connection any more"
    )
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{one.named} of {one.database.server.name}{database_locks.where(one)} keeps the {one.lock.name} "
            f"and {what}; {phrases.waiting(len(one.waiters))} for it"
        ),
        severity=Severity.WARNING,
        confidence=_confidence(one, seen),
        culprit=one.holder or _remote(one),
        victims=database_locks.victims(graph, one),
        resource=database_locks.resource(one),
        chain=chains.links(path),
        evidence=database_locks.evidence(one, seen.wait.evidence if seen and seen.wait else ()),
        against=tuple(_against(one, seen)),
        remedy=tuple(_remedy(one)),
        check=(*phrases.check_stack(one.holder.pid if one.holder else 0), "diag db DSN"),
    )


def _doing(seen: SeenThread | None) -> str:
    if seen is None:
        return "does something that diag cannot see from here"
    if seen.wait:
        return phrases.does(seen.wait.words)
    return "works" if seen.thread.state == "R" else "does something else"


def _confidence(one: Blocked, seen: SeenThread | None) -> Confidence:
    if not one.lock.certain:
        return Confidence.POSSIBLE
    alone = seen is not None and one.hold is not None and one.hold.certain and one.holder is not None
    return Confidence.CERTAIN if alone and one.holder and one.holder.tid else Confidence.LIKELY


def _remote(one: Blocked) -> Actor | None:
    client = one.blocker.client if one.blocker else ""
    return Actor(pid=0, started=0, process="", address=client) if client else None


def _against(one: Blocked, seen: SeenThread | None) -> Iterator[str]:
    if one.blocker is not None:
        yield "the client may still commit by itself; then those who wait go on"
    if seen is not None and one.holder is not None and one.holder.tid is None:
        yield "the client has several threads, and nothing shows which of them uses the connection"
    if one.hold is not None and not one.hold.certain:
        yield "that this thread uses the connection is inferred: the others are busy with something else"


def _remedy(one: Blocked) -> Iterator[str]:
    yield database_locks.kill(one)
    if one.lock.kind == "advisory":
        yield (
            "in the code: release it (RELEASE_LOCK; pg_advisory_unlock) in a finally, before sleeping, "
            "waiting for locks or calling other services: a commit does not, and a connection that goes back "
            "to its pool keeps it"
        )
    elif one.lock.kind == "global":
        yield "in the code: UNLOCK TABLES or BACKUP STAGE END in a finally; back up in a single transaction"
    elif one.blocker is not None:
        yield (
            "in the code: commit before sleeping, waiting for locks or calling other services; keep "
            "transactions short, and set the server's idle-transaction limit (innodb: "
            "idle_write_transaction_timeout; PostgreSQL: idle_in_transaction_session_timeout)"
        )
