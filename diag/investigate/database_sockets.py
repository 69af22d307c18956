"""Whose a database session is: from its client's address, or its server thread's socket, to a descriptor.

Over TCP the server names the client's address, which is a row of /proc/net/tcp in the client's network
namespace. Over a UNIX socket it names nobody; but an idle session's thread polls its end of the
connection, and sock_diag(7) tells the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import asked, open_files, sockets
from diag.collectors import process as processes
from diag.collectors import threads as thread_facts
from diag.collectors.databases import RULES
from diag.model.databases import Client
from diag.model.facts import Gap
from diag.waits.scene import actor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.model.databases import Database, Session
    from diag.model.io import End, Socket
    from diag.model.snapshot import SeenThread

MOST_CALLERS = 256
"""Connections to one proxy whose other ends are looked for."""
MOST_NAMESPACES = 32
"""Network namespaces whose connections are looked at."""
_LOOPBACK = ("127.", "[::1]", "::1")


class Callers(NamedTuple):
    """The clients of some processes."""

    pids: frozenset[tuple[int, int]]  # the process that is called, and who calls it; 0: from elsewhere
    lines: frozenset[tuple[int, int]]  # the socket of the one, and that of the other (inodes)


class Sockets:
    """The connections of all sessions of some servers, as this host sees them."""

    def __init__(self, inquiry: Inquiry, found: tuple[Database, ...]) -> None:
        self._inquiry = inquiry
        self._host = inquiry.host
        self._found = found
        self._inodes: dict[tuple[str, int], int] = {}  # dsn and session -> the client's socket
        self._tcp()
        self._unix()
        self._sessions = {inode: key for key, inode in self._inodes.items()}
        self._ends = self._owners()

    def session(self, seen: SeenThread, inode: int) -> tuple[Database, Session] | None:
        """The session at the other end of a thread's socket."""
        if key := self._sessions.get(inode):
            return next(
                (database, session)
                for database in self._found
                if database.server.dsn == key[0] and (session := database.session(key[1]))
            )
        return self._by_elimination(seen, inode)

    def client(self, database: Database, number: int) -> Client | None:
        """The process that has the client's end of a session."""
        inode = self._inodes.get((database.server.dsn, number))
        for end in self._ends.get(inode or 0, ()):  # of several that inherited it, the oldest
            if process := self._inquiry.process(end.pid):
                alone = len({other.pid for other in self._ends[inode or 0]}) == 1
                return Client(
                    server=database.server.dsn,
                    session=number,
                    actor=actor(process),
                    fd=end.fd,
                    certain=alone,
                )
        return None

    def callers(self, pids: Iterable[int]) -> Callers:
        """Who is connected to one of ``pids`` that listens on a port, and over which sockets."""
        found: set[tuple[int, int]] = set()
        lines: set[tuple[int, int]] = set()
        for pid in pids:
            try:
                links = self._host.fds(pid)
            except OSError:
                continue
            own = {int(each.target[8:-1]) for each in links if each.target.startswith("socket:[")}
            rows = [row for table in ("tcp", "tcp6") for row in sockets.rows(self._host, pid, table)]
            listens = {
                row.local.rpartition(":")[2] for row in rows if row.inode in own and row.state == "listen"
            }
            served = {
                (row.remote, row.local): row.inode
                for row in rows
                if row.inode in own and row.local.rpartition(":")[2] in listens and row.remote
            }
            ends = [row for row in rows if (row.local, row.remote) in served and row.inode]
            inodes = [row.inode for row in ends]
            lines.update((served[row.local, row.remote], row.inode) for row in ends)
            found.update((pid, other) for other in self._pids_on(inodes[:MOST_CALLERS]) if other != pid)
            if len(inodes) < len(served) or len(inodes) > MOST_CALLERS:
                found.add((pid, 0))
        return Callers(frozenset(found), frozenset(lines))

    def _pids_on(self, inodes: Iterable[int]) -> set[int]:
        device = self._device()
        if device is None:
            return set()
        ends, _ = open_files.ends(self._host, frozenset((device, inode) for inode in inodes))
        return {end.pid for end in ends}

    def _tcp(self) -> None:
        wanted = {
            session.client: (database, session)
            for database in self._found
            for session in database.sessions
            if session.client
        }
        for pid in self._namespaces() if wanted else ():
            rows = [row for table in ("tcp", "tcp6") for row in sockets.rows(self._host, pid, table)]
            pairs = {(row.local, row.remote) for row in rows}
            for row in rows:
                if row.local in wanted and row.inode and row.state == "established":
                    database, session = wanted[row.local]
                    if _leads_to(row, database, pairs):
                        self._inodes[database.server.dsn, session.id] = row.inode

    def _namespaces(self) -> Iterator[int]:
        """One process of each network namespace, diag's own first."""
        known: set[str] = set()
        for pid in (self._host.info.pid, *processes.pids(self._host)):
            try:
                name = self._host.link(f"/proc/{pid}/ns/net")
            except OSError:
                continue
            if name not in known and len(known) < MOST_NAMESPACES:
                known.add(name)
                yield pid

    def _unix(self) -> None:
        for database in self._found:
            waited = {wait.waiter for wait in database.waits} | {wait.blocker for wait in database.waits}
            for session in database.sessions:
                if session.local and session.thread and (session.transaction or session.id in waited):
                    peer = self._served_peer(database, session) or self._polled_peer(session.thread)
                    if peer:
                        self._inodes[database.server.dsn, session.id] = peer

    def _served_peer(self, database: Database, session: Session) -> int | None:
        """The client's end where a process of its own serves a session (PostgreSQL).

        That the process has a socket of this server shows that its number is of this pid namespace.
        """
        pid, suffix = session.id, f"/.s.PGSQL.{database.server.port}"
        if session.thread != pid:
            return None
        try:
            own = {
                int(link.target[8:-1]) for link in self._host.fds(pid) if link.target.startswith("socket:[")
            }
            rows = sockets.rows(self._host, pid, "unix")
            served = [row.inode for row in rows if row.inode in own and row.local.endswith(suffix)]
            return self._host.unix_peer(pid, served[0]) or None if len(served) == 1 else None
        except OSError:
            return None

    def _polled_peer(self, tid: int) -> int | None:
        """The client's end of the socket that a thread of the server waits on."""
        pid = processes.owner_of_thread(self._host, tid)
        if pid is None:
            return None
        thread = thread_facts.collect_one(self._host, pid, tid, self._inquiry.clock)
        about = asked.collect(self._host, thread, self._inquiry.clock) if thread else None
        if about is None or len(about.fds) != 1:
            return None
        file = open_files.collect(self._host, pid, about.fds[0])
        try:
            return self._host.unix_peer(pid, file.inode) if file and file.kind == "socket" else None
        except OSError:
            return None

    def _by_elimination(self, seen: SeenThread, inode: int) -> tuple[Database, Session] | None:
        """A thread on the server's UNIX socket has one of the sessions at work that nobody else has.

        Which one does not matter where all of them wait for the same: else nothing is claimed.
        """
        path = seen.wait.resource.path if seen.wait else None
        for database in self._found:
            if not path or path != database.server.socket:
                continue
            taken = {number for dsn, number in self._inodes if dsn == database.server.dsn}
            left = [s for s in database.sessions if s.local and s.active and s.id not in taken]
            roots = {frozenset((w.blocker, w.key) for w in database.roots(s.id)) for s in left}
            if left and len(roots) == 1:
                self._inodes[database.server.dsn, left[0].id] = inode
                self._sessions[inode] = (database.server.dsn, left[0].id)
                return database, left[0]
        return None

    def _owners(self) -> dict[int, tuple[End, ...]]:
        """Who has the clients' ends; one pass over the host answers all."""
        waited = {
            (database.server.dsn, number)
            for database in self._found
            for wait in database.waits
            for number in (wait.waiter, wait.blocker)
        }
        inodes = [inode for key, inode in self._inodes.items() if key in waited]
        device = self._device() if inodes else None
        ends = frozenset((device, inode) for inode in inodes) if device is not None else frozenset()
        found, denied = open_files.ends(self._host, ends)
        unseen = sorted(set(inodes) - {end.inode for end in found})
        if unseen and (denied or device is None):
            self._inquiry.gaps.append(_hidden([self._sessions[inode][1] for inode in unseen], self._host))
        by_inode: dict[int, tuple[End, ...]] = {}
        for end in found:
            by_inode[end.inode] = (*by_inode.get(end.inode, ()), end)
        return by_inode

    def _device(self) -> int | None:
        """The device that all sockets of a host are on: that of any of them."""
        for pid in self._likely_pids():
            try:
                links = self._host.fds(pid)
            except OSError:
                continue
            for link in links:
                if link.target.startswith("socket:") and (
                    file := open_files.collect(self._host, pid, link.fd)
                ):
                    return file.device or None
        return None

    def _likely_pids(self) -> Iterable[int]:
        """Processes that have sockets: servers' own first, then anybody."""
        tids = [s.thread for database in self._found for s in database.sessions[:1] if s.thread]
        owners = [pid for tid in tids if (pid := processes.owner_of_thread(self._host, tid))]
        return (*owners, *processes.pids(self._host))


def _hidden(sessions: list[int], host: Host) -> Gap:
    some = ", ".join(map(str, sessions[:5])) + (" …" if len(sessions) > 5 else "")
    return Gap(
        source="/proc/PID/fd",
        hides=f"which processes of this host have the database sessions {some}, and what they do",
        reason="permission denied",
        hint="run diag as root" if host.info.uid else "run diag on the host, outside the container",
        blinds=RULES,
    )


def _leads_to(row: Socket, database: Database, pairs: set[tuple[str, str]]) -> bool:
    """Whether a connection really is one to this server.

    Through a loopback address both ends are on one host; the same address on another host means nothing.
    """
    if row.local.startswith(_LOOPBACK) and (row.remote, row.local) not in pairs:
        return False
    port = row.remote.rpartition(":")[2]
    place = database.server.dsn.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return port in (str(database.server.port), place)
