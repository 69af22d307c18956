"""What the rules about databases share: who waits for a database lock, and whose session has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.model.databases import Client, Database, LockWait, Session
    from diag.model.facts import Evidence
    from diag.model.graph import Actor, Hold, Resource, Wait
    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.chains import Graph

KIND = "database-lock"
IDLE = 0.5
"""Seconds of silence between two statements that are no mere pause for breath."""


class Blocked(NamedTuple):
    """A session that keeps others waiting, and waits for nobody in the server itself."""

    database: Database
    blocker: Session | None  # None: a prepared transaction that has no session
    lock: LockWait
    waiters: tuple[int, ...]  # sessions, those in the queue behind others too
    hold: Hold | None  # None: nobody of this host waits for it
    waits: tuple[Wait, ...]  # the stuck threads of this host that wait for it
    client: Client | None = None  # the process of this host that has it, where no thread waits for it

    @property
    def is_idle(self) -> bool:
        """Whether the client has sent no statement for a while: the server waits for it."""
        session = self.blocker
        return session is not None and not session.active and (session.seconds or 0.0) >= IDLE

    @property
    def holder(self) -> Actor | None:
        """The client that has the lock."""
        if self.hold:
            return self.hold.holder
        return self.client.actor if self.client else None

    @property
    def named(self) -> str:
        """The session in words: "session 42 (app, transaction 421)"."""
        if self.blocker is None:
            return f"prepared transaction {self.lock.transaction}"
        about = [self.blocker.user] if self.blocker.user else []
        if self.blocker.transaction:
            about.append(f"transaction {self.blocker.transaction}")
        return f"session {self.blocker.id}{f' ({chr(44).join(about)})' if about else ''}".replace(",", ", ")


def blocked(snapshot: Snapshot, graph: Graph) -> Iterator[Blocked]:
    """Every blocking session once, with all that wait behind it."""
    for database in snapshot.databases:
        roots: dict[object, list[tuple[int, LockWait]]] = {}
        for waiter in dict.fromkeys(wait.waiter for wait in database.waits):
            for lock in database.roots(waiter):
                roots.setdefault(lock.blocker or lock.transaction, []).append((waiter, lock))
        for pairs in roots.values():
            lock = pairs[0][1]
            waiters = tuple(waiter for waiter, _ in pairs)
            waits = tuple(_waits(graph, database, waiters))
            hold = next((h for wait in waits for h in _holds(wait, lock)), None)
            client = _client(snapshot, database, lock)
            yield Blocked(database, database.session(lock.blocker), lock, waiters, hold, waits, client)


def _client(snapshot: Snapshot, database: Database, lock: LockWait) -> Client | None:
    key = (database.server.dsn, lock.blocker)
    return next((client for client in snapshot.clients if (client.server, client.session) == key), None)


def _waits(graph: Graph, database: Database, waiters: Sequence[int]) -> Iterator[Wait]:
    for wait in graph.waits.values():
        session = wait.session
        if (
            wait.resource.kind == KIND
            and wait.stuck
            and session
            and session.server == database.server.dsn
            and session.id in waiters
        ):
            yield wait


def _holds(wait: Wait, lock: LockWait) -> Iterator[Hold]:
    for hold in wait.holds:
        if (hold.session.id if hold.session else None) == lock.blocker:
            yield hold


def doing(graph: Graph, holder: Actor | None) -> SeenThread | None:
    """What the client that has the lock does meanwhile."""
    return graph.seen(holder) if holder and holder.pid else None


def evidence(one: Blocked, *more: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """The server's rows first: who blocks, whom, over what."""
    rows = [*one.lock.evidence]
    if one.blocker and one.blocker.evidence:
        rows.append(one.blocker.evidence)
    for waiter in one.waiters[:3]:
        session = one.database.session(waiter)
        if session and session.evidence:
            rows.append(session.evidence)
    rows.extend(item for group in more for item in group)
    return tuple(dict.fromkeys(rows))


def resource(one: Blocked) -> Resource:
    """The lock, for the report."""
    from diag.model.graph import Resource as Record  # noqa: PLC0415 - a value, not only a type

    return Record(
        kind=KIND,
        key=f"{KIND}:{one.database.server.dsn}:{one.lock.key}",
        name=f"{one.lock.name} of {one.database.server.name}",
        lock=one.lock.kind,
        mode=one.lock.mode or None,
    )


def victims(graph: Graph, one: Blocked) -> tuple[Actor, ...]:
    """The threads of this host that wait for it, and whoever waits for them."""
    own = tuple(wait.waiter for wait in one.waits)
    return (*own, *(actor for actor in graph.victims(one.waits) if actor not in own))


def kill(one: Blocked) -> str:
    """How to end the blocking session, and what that costs."""
    if one.database.server.product == "PostgreSQL":
        return _kill_postgresql(one)
    if one.blocker is None:
        return (
            f"in {one.database.server.name}: XA RECOVER names the prepared transaction; XA ROLLBACK or XA "
            "COMMIT ends it, as its transaction manager decides"
        )
    rolled_back = (
        f"rolls the transaction of session {one.blocker.id} back "
        f"({one.blocker.changed} changed rows are lost)"
    )
    undone = rolled_back if one.blocker.transaction else "ends the session"
    return (
        f"in {one.database.server.name}: KILL {one.blocker.id} {undone} and lets the "
        f"{len(one.waiters)} go on that wait"
    )


def _kill_postgresql(one: Blocked) -> str:
    place = f"in {one.database.server.name}"
    if one.blocker is None:
        return (
            f"{place}: ROLLBACK PREPARED or COMMIT PREPARED {one.lock.transaction} ends it, as its "
            "transaction manager decides; pg_prepared_xacts names its database and owner"
        )
    undone = "rolls its transaction back" if one.blocker.transaction else "ends the session"
    return (
        f"{place}: SELECT pg_terminate_backend({one.blocker.id}) {undone}, its locks with it, and lets the "
        f"{len(one.waiters)} go on that wait"
    )


def where(one: Blocked) -> str:
    """Whose the blocking session is: " (client pid 12 (app))"; where it came from otherwise."""
    holder = one.holder
    if holder is None or not holder.pid:
        client = one.blocker.client if one.blocker else ""
        return f" (client {client})" if client else ""
    return f" (client {phrases.who(holder)})"


def chain_of(one: Blocked, graph: Graph) -> tuple[Wait, ...]:
    """The chain from one of those who wait to the end of what the holder waits for."""
    return graph.path(one.waits[0]) if one.waits else ()


def in_ring(one: Blocked, graph: Graph) -> bool:
    """Whether those who wait are in a ring, or behind one: then the ring is the cause."""
    return any(chains._key(wait) in graph.dead for wait in one.waits)  # noqa: SLF001
