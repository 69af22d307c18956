"""Threads that wait for an answer of a database server: what their session does, or whose lock it wants.

Unlike the other links this one needs the server's own words: it makes a better wait of one on a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.graph import Actor, Hold, How, Resource, SessionId
from diag.waits.scene import at, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.model.databases import Client, Database, LockWait, Session
    from diag.model.facts import Evidence
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread

KIND = "database-lock"
_TIMEOUTS = {"poll": 2, "epoll_wait": 3, "epoll_pwait": 3}
"""Which argument is the time limit in milliseconds: poll(2), epoll_wait(2)."""
_SHOWN = 120  # characters of a statement in words


def link(
    seen: SeenThread, database: Database, session: Session, client: Callable[[int | None], Client | None]
) -> Wait | None:
    """Say what a thread that waits on the connection of ``session`` waits for; ``client``: whose one is."""
    wait = seen.wait
    if wait is None:
        return None
    own = SessionId(server=database.server.dsn, id=session.id)
    locks = database.roots(session.id)
    if not locks:
        if not session.active:
            return replace(wait, session=own)
        words = f"runs {statement(session)} in session {session.id} of {database.server.name}{_for(session)}"
        evidence = (*wait.evidence, *((session.evidence,) if session.evidence else ()))
        return replace(wait, session=own, words=f"{words}{at(seen.stack)}", evidence=evidence)
    resource = resource_of(database, locks[0])
    words = (
        f"waits for the {locks[0].name} of {database.server.name}, which {_whose(database, locks[0])} has: "
        f"session {session.id} runs {statement(session)}{_for(session)}{at(seen.stack)}"
    )
    return replace(
        wait,
        how=How.POLLING if _asks_again(seen, session) else wait.how,
        resource=resource,
        words=words,
        session=own,
        holds=tuple(_hold(database, lock, resource, client(lock.blocker)) for lock in locks),
        evidence=(*wait.evidence, *_evidence(session, locks)),
        certain=wait.certain and all(lock.certain for lock in locks),
    )


def _asks_again(seen: SeenThread, session: Session) -> bool:
    """Whether a client's time limit ends no wait: its statement has run for longer (psycopg 3: 0.1 s)."""
    call = seen.thread.syscall
    place = _TIMEOUTS.get(call.name or "") if call else None
    if call is None or place is None or len(call.arguments) <= place or not session.active:
        return False
    limit = call.arguments[place] & 0xFFFFFFFF  # a C int; negative: none
    return limit < 1 << 31 and limit / 1000 < (session.seconds or 0.0)


def resource_of(database: Database, lock: LockWait) -> Resource:
    """The lock as something that is waited for."""
    return Resource(
        kind=KIND,
        key=f"{KIND}:{database.server.dsn}:{lock.key}",
        name=f"{lock.name} of {database.server.name}",
        lock=lock.kind,
        mode=lock.mode or None,
    )


def _hold(database: Database, lock: LockWait, resource: Resource, client: Client | None) -> Hold:
    blocker = database.session(lock.blocker)
    return Hold(
        holder=client.actor if client else unknown(database, lock),
        resource=resource,
        fd=client.fd if client else None,
        session=SessionId(server=database.server.dsn, id=lock.blocker) if lock.blocker else None,
        certain=lock.certain and (client is None or client.certain),
        evidence=(*lock.evidence, *((blocker.evidence,) if blocker and blocker.evidence else ())),
    )


def unknown(database: Database, lock: LockWait) -> Actor:
    """Name a holder that is no process of this host."""
    blocker = database.session(lock.blocker)
    if blocker is None:
        what = f"prepared transaction {lock.transaction} in {database.server.name}"
    else:
        what = blocker.client or f"of session {blocker.id} of {database.server.name}"
    return Actor(pid=0, started=0, process="", address=what)


def _whose(database: Database, lock: LockWait) -> str:
    blocker = database.session(lock.blocker)
    if blocker is None:
        return f"prepared transaction {lock.transaction}"
    part = f" (transaction {blocker.transaction})" if blocker.transaction else ""
    return f"session {blocker.id}{part}"


def _evidence(session: Session, locks: tuple[LockWait, ...]) -> tuple[Evidence, ...]:
    rows = (session.evidence,) if session.evidence else ()
    return (*(item for lock in locks for item in lock.evidence), *rows)


def statement(session: Session) -> str:
    """The statement of a session, short."""
    text = session.statement or "a statement"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _for(session: Session) -> str:
    return f" for {seconds(round(session.seconds, 1))}" if session.seconds and session.seconds >= 1 else ""
