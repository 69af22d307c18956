"""Database servers behind the wait chains: asked who blocks whom, and joined with this host's processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import databases as servers
from diag.investigate import database_threads
from diag.investigate.database_sockets import Sockets
from diag.model.graph import SessionId
from diag.waits import database as link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.databases import Client, Database, LockWait
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

CACHED = 0.15
"""Seconds for which InnoDB answers from its cache (0.1 s, trx0i_s.cc): two looks must be further apart."""


SQLITE = "sqlite://"


class Access(NamedTuple):
    """Which servers may be asked, and whether the literals of their statements are wanted."""

    dsns: tuple[str, ...] = ()
    literals: bool = False

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers among them. A file of SQLite has none: its locks are the kernel's."""
        return tuple(dsn for dsn in self.dsns if not dsn.startswith(SQLITE))

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of SQLite's databases among them."""
        return tuple(dsn.removeprefix(SQLITE) for dsn in self.dsns if dsn.startswith(SQLITE))


NOBODY = Access()
"""No server is asked."""


class Databases:
    """What some servers said, and whose their sessions are."""

    def __init__(self, inquiry: Inquiry, access: Access) -> None:
        self._inquiry = inquiry
        self._access = access
        self.found: tuple[Database, ...] = ()
        self.clients: dict[SessionId, Client] = {}
        self._sockets: Sockets | None = None
        self._looked = False
        self.called: set[tuple[int, int]] = set()  # who has locks, and who is connected to it
        self.lines: set[tuple[int, int]] = set()  # the sockets of these connections
        self._asked: set[int] = set()  # processes whose callers are known

    def look(self) -> None:
        """Ask every server, twice, and keep the waits that both answers show."""
        if self._looked or not self._access.servers:
            return
        self._looked = True
        first = self._ask(tell=True)
        if any(database.waits for database in first):
            self._inquiry.host.sleep(CACHED)
            first = _lasting(first, self._ask(tell=False))
        self.found = _once(first)
        self._sockets = Sockets(self._inquiry, self.found)

    def again(self) -> None:
        """Ask once more, later: what does not show any more was no more than brief."""
        if any(database.waits for database in self.found):
            self.found = _lasting(self.found, self._ask(tell=False))

    def _ask(self, *, tell: bool) -> tuple[Database, ...]:
        answers = [
            servers.collect(self._inquiry.host, dsn, literals=self._access.literals)
            for dsn in self._access.servers
        ]
        # Later on only who has fallen silent is told of: what was seen of it before does not count any more.
        self._inquiry.gaps.extend(
            gap
            for answer in answers
            if tell or answer.database is None
            for gap in answer.gaps
            if gap not in self._inquiry.gaps
        )
        return tuple(answer.database for answer in answers if answer.database)

    def client(self, database: Database, session: int | None) -> Client | None:
        """Whose a session is; None where it belongs to no process of this host."""
        if session is None or self._sockets is None:
            return None
        key = SessionId(server=database.server.dsn, id=session)
        if key not in self.clients and (found := self._sockets.client(database, session)):
            self.clients[key] = found
        return self.clients.get(key)

    def pids(self) -> tuple[int, ...]:
        """The processes of this host whose sessions wait or are waited for."""
        self.look()
        found = set()
        for database in self.found:
            for wait in database.waits:
                for session in (wait.waiter, wait.blocker):
                    if (client := self.client(database, session)) and client.actor.pid:
                        found.add(client.actor.pid)
        return tuple(sorted(found))

    def blockers(self, pids: Collection[int]) -> tuple[int, ...]:
        """Who keeps sessions of ``pids`` waiting. No thread shows that where an event loop waits for many."""
        self.pids()  # so that every client is known, also of those whom no chain leads to
        found = set()
        for database in self.found:
            for waiter in {wait.waiter for wait in database.waits}:
                client = self.client(database, waiter)
                if client is None or client.actor.pid not in pids:
                    continue
                for wait in database.roots(waiter):
                    if (holder := self.client(database, wait.blocker)) and holder.actor.pid:
                        found.add(holder.actor.pid)
        return tuple(sorted(found.difference(pids)))

    def callers(self, waits: Iterable[Wait]) -> frozenset[int]:
        """Who calls the processes that have the locks: a proxy's client decides when a transaction ends."""
        holders = {
            hold.holder.pid
            for wait in waits
            if wait.resource.kind == link.KIND
            for hold in wait.holds
            if hold.holder.pid
        }
        new = holders - self._asked
        self._asked |= new
        if self._sockets and new:
            found = self._sockets.callers(new)
            self.called |= found.pids
            self.lines |= found.lines
        return frozenset(caller for holder, caller in self.called if holder in new and caller)

    def refine(self, threads: Iterable[SeenThread]) -> list[SeenThread]:
        """Say of every thread that waits on a connection to one of the servers what its session does."""
        self.look()
        return [self._refined(seen) for seen in threads]

    def _refined(self, seen: SeenThread) -> SeenThread:
        wait = seen.wait
        if self._sockets is None or wait is None or wait.resource.kind != "socket":
            return seen
        inode = wait.resource.key.rpartition(":")[2]
        if not inode.isdigit() or (known := self._sockets.session(seen, int(inode))) is None:
            return seen
        database, session = known
        better = link.link(seen, database, session, lambda number: self.client(database, number))
        return replace(seen, wait=better or wait)

    def settle(self, threads: Sequence[SeenThread]) -> list[SeenThread]:
        """Name, for every lock that is waited for, the thread of its holder, now that all are looked at."""
        return database_threads.settle(self._inquiry, threads)

    def confirm(self, threads: Iterable[SeenThread]) -> tuple[SeenThread, ...]:
        """Mark as stuck the waits for a lock that the same transaction still has, and no others."""
        self.again()
        by_server = {database.server.dsn: database for database in self.found}
        return tuple(_confirmed(seen, by_server) for seen in threads)


def _confirmed(seen: SeenThread, by_server: dict[str, Database]) -> SeenThread:
    wait = seen.wait
    if wait is None or wait.session is None or wait.resource.kind != link.KIND:
        return seen
    database = by_server.get(wait.session.server)
    roots = {lock.blocker for lock in database.roots(wait.session.id)} if database else set()
    holds = tuple(hold for hold in wait.holds if (hold.session.id if hold.session else None) in roots)
    # The server itself says that nothing has moved; a thread that was stopped for its stack has been awake.
    return replace(seen, wait=replace(wait, stuck=bool(holds), holds=holds or wait.holds))


def _lasting(first: tuple[Database, ...], second: tuple[Database, ...]) -> tuple[Database, ...]:
    """The later answers, with the waits that were there before too; of a server now silent, the earlier."""
    later = {database.server.dsn: database for database in second}
    found = []
    for database in first:
        now = later.get(database.server.dsn)
        if now is None:
            found.append(replace(database, waits=()))
            continue
        known = {_pair(database, wait) for wait in database.waits}
        found.append(replace(now, waits=tuple(wait for wait in now.waits if _pair(now, wait) in known)))
    return tuple(found)


def _pair(database: Database, wait: LockWait) -> tuple[object, ...]:
    """What makes a wait the same at two moments: sessions, transactions, the lock."""
    waiter, blocker = database.session(wait.waiter), database.session(wait.blocker)
    return (
        wait.waiter,
        wait.blocker,
        waiter and waiter.began,
        blocker and (blocker.transaction or blocker.began),
        wait.transaction,
        wait.kind,
        wait.key,
    )


def _once(found: tuple[Database, ...]) -> tuple[Database, ...]:
    """Leave out a server that was named twice: it has the same sessions."""
    kept: dict[object, Database] = {}
    for database in found:
        ids = tuple(sorted((session.id, session.thread, session.client) for session in database.sessions))
        server = database.server
        kept.setdefault(
            (server.product, server.port, server.socket, ids if not server.port else None), database
        )
    return tuple(kept.values())
