"""D003: a ring through a database lock and something outside the database, which no server can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.finding import Finding, Severity
from diag.rules import chains, phrases, saturated_pool
from diag.rules.database_locks import KIND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.snapshot import Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "D003", "database-cycle"


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Each waits for the next, once for a lock in a database and once for something of the system's."""
    graph = chains.Graph(snapshot)
    pools = {
        (one.database.server.dsn, one.blocker.id)
        for one in saturated_pool.blocked(snapshot, graph)
        if one.blocker
    }
    for ring in graph.rings():
        if KIND in ring.kinds and len(ring.kinds) > 1 and not _is_pool(ring, pools):
            yield _finding(ring)


def _is_pool(ring: Ring, pools: set[tuple[str, int]]) -> bool:
    """Whether D001 tells of it."""
    sessions = {hold.session for wait in ring.waits for hold in wait.holds if hold.session}
    return any((each.server, each.id) in pools for each in sessions)


def _finding(ring: Ring) -> Finding:
    in_server = next(wait for wait in ring.waits if wait.resource.kind == KIND)
    session = next((hold.session for hold in in_server.holds if hold.session), None)
    holder = next((hold.holder for hold in in_server.holds), in_server.waiter)
    name = f" (session {session.id})" if session else ""
    pids = sorted(ring.pids)
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=f"{chains.hops(ring.waits)}: the ring goes through a database lock{name}, "
        "so neither the server nor the kernel sees a deadlock",
        severity=Severity.CRITICAL,
        confidence=chains.confidence(ring.waits),
        culprit=holder,
        victims=(
            *(wait.waiter for wait in ring.waits if wait.waiter != holder),
            *(wait.waiter for wait in ring.victims),
        ),
        resource=in_server.resource,
        chain=chains.links(ring.waits),
        evidence=chains.evidence(ring.waits),
        against=("the server's lock wait timeout ends one of the waits, and its statement fails",),
        remedy=(
            f"end one of the ring: kill -KILL {holder.pid}"
            f"{f', or KILL {session.id} in the server,' if session else ''} rolls its transaction back; "
            "the others go on",
            "in the code: take database locks and other locks in one order everywhere; commit before waiting "
            "for anything outside of the database",
        ),
        check=(*phrases.check_stack(*pids), "diag db DSN"),
    )
