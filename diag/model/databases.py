"""Database servers, without regard to whose: sessions, transactions, and who waits for whom."""

from __future__ import annotations

from diag.model.facts import Evidence, Fact
from diag.model.graph import Actor


class Server(Fact, frozen=True, kw_only=True):
    """One server, as it describes itself."""

    dsn: str  # how diag reached it, without secrets: its name in this report
    product: str  # "MariaDB", "MySQL", "PostgreSQL", "SQLite"
    version: str
    port: int | None = None  # TCP, where it listens
    socket: str | None = None  # UNIX socket, where it listens, in its own mount namespace; SQLite: the file

    @property
    def name(self) -> str:
        """What an engineer calls it: "MariaDB 127.0.0.1:3306"."""
        if self.product == "SQLite":
            return f"SQLite {self.socket}"
        place = self.dsn.partition("://")[2].partition("?")[0].rpartition("@")[2].rstrip("/")
        if not place or place.startswith("/"):  # no host, but perhaps the name of a database
            place = str(self.socket or self.port or "")
        return f"{self.product} {place}".rstrip()


class Session(Fact, frozen=True, kw_only=True):
    """One connection, as the server sees it."""

    id: int  # connection id (MySQL), process id of the backend (PostgreSQL)
    thread: int | None = None  # OS thread that serves it, in the server's own pid namespace
    user: str = ""
    client: str = ""  # "127.0.0.1:43210"; "" where it came through a UNIX socket
    local: bool = False  # it came through a UNIX socket
    active: bool = False  # it runs a statement now
    doing: str = (
        ""  # the server's own word: "Sleep", "Waiting for table metadata lock", "idle in transaction"
    )
    seconds: float | None = None  # for how long it has been doing that
    transaction: str | None = None  # its number, or when it began where it has none; None: none is open
    began: str | None = None  # when the transaction began, in the server's words
    open_for: float | None = None  # seconds since the transaction began
    changed: int = 0  # rows that the transaction has changed
    statement: str | None = None  # now running, or the last one; literals are masked unless asked for
    evidence: Evidence | None = None  # the server's row


class LockWait(Fact, frozen=True, kw_only=True):
    """One session can not go on before another lets go of something."""

    waiter: int  # session
    blocker: int | None  # session; None: a transaction that has none (prepared, XA)
    transaction: str | None = None  # of the blocker
    kind: str  # "row", "metadata", "table", "advisory", "transaction" …
    key: str  # equal for waits for the same thing on the same server
    name: str  # in words: "row lock on `shop`.`user` (index PRIMARY)"
    mode: str = ""
    certain: bool = True  # False: the server does not tell; the blocker was inferred
    queued: bool = False  # the blocker does not hold it: it waits ahead in the queue
    evidence: tuple[Evidence, ...] = ()


class Database(Fact, frozen=True, kw_only=True):
    """What one server said at one moment."""

    server: Server
    sessions: tuple[Session, ...] = ()
    waits: tuple[LockWait, ...] = ()
    notes: tuple[str, ...] = ()  # what else it says of itself, in words
    files: tuple[str, ...] = ()  # those on which its locks lie, where it is no server (SQLite)

    def session(self, number: int | None) -> Session | None:
        """Look one session up."""
        return next((session for session in self.sessions if session.id == number), None)

    def roots(self, waiter: int) -> tuple[LockWait, ...]:
        """The waits at the end of a session's queue: their blockers wait for nobody."""
        by_waiter: dict[int, list[LockWait]] = {}
        for wait in self.waits:
            by_waiter.setdefault(wait.waiter, []).append(wait)
        found: dict[int | str | None, LockWait] = {}
        left, known = [waiter], {waiter}
        while left:
            for wait in by_waiter.get(left.pop(), ()):
                if wait.blocker is None or wait.blocker not in by_waiter:
                    found.setdefault(wait.blocker or wait.transaction, wait)
                elif wait.blocker not in known:
                    known.add(wait.blocker)
                    left.append(wait.blocker)
        return tuple(found.values())


class Client(Fact, frozen=True, kw_only=True):
    """Whose session it is: a process of this host, its descriptor, and its thread where that is known."""

    server: str  # dsn
    session: int
    actor: Actor  # pid 0 and an address where the client runs elsewhere
    fd: int | None = None
    certain: bool = True  # False: which of several threads uses the connection is inferred
