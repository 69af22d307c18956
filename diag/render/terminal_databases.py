"""The db section of the terminal report: each server's lock tree with its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from diag.render import terminal_locks
from diag.render.database_clients import owner
from diag.render.escape import plain
from diag.render.words import age, person, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.databases import Database, LockWait, Session
    from diag.model.snapshot import Snapshot

MOST = 30
"""Waiting sessions shown under one that blocks them (all of them with -v)."""
_STATEMENT = 100


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield each server with its lock tree: who blocks, and below who waits for that."""
    for database in snapshot.databases:
        server = database.server
        if database.files:
            yield from _file(snapshot, database, now, verbose=verbose)
            continue
        sessions = len(database.sessions)
        waiters = {wait.waiter for wait in database.waits}
        yield Text(
            f"{plain(server.name)} ({plain(server.version)}): "
            f"{sessions} sessions, {len(waiters)} wait for locks",
            style="bold cyan",
        )
        for wait in _roots(database):
            yield _tree(snapshot, database, wait, verbose=verbose)


def _file(snapshot: Snapshot, database: Database, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Show a SQLite database: what its files say, and each lock on them."""
    server = database.server
    locks = [lock for lock in snapshot.locks if lock.resource.path in database.files]
    version = f" ({plain(server.version)})" if server.version else ""
    state = "" if locks else ": no lock on it"
    yield Text(f"{plain(server.name)}{version}{state}", style="bold cyan")
    for note in database.notes:
        yield Text(f"- {plain(note)}")
    for lock in locks:
        yield terminal_locks.tree(lock, now, verbose=verbose)


def _roots(database: Database) -> list[LockWait]:
    """One wait for each session that blocks others and waits for nobody."""
    found: dict[object, LockWait] = {}
    for waiter in dict.fromkeys(wait.waiter for wait in database.waits):
        for wait in database.roots(waiter):
            found.setdefault((wait.blocker or wait.transaction, wait.key), wait)
    return list(found.values())


def _tree(snapshot: Snapshot, database: Database, root: LockWait, *, verbose: bool) -> Tree:
    top = Tree(Text("").append_text(_session(snapshot, database, root.blocker, root)), guide_style="dim")
    branch = top.add(Text(f"has the {plain(root.name)}", style="yellow"))
    waiting = [
        number
        for number in dict.fromkeys(wait.waiter for wait in database.waits)
        if any((wait.blocker, wait.key) == (root.blocker, root.key) for wait in database.roots(number))
    ]
    for number in waiting if verbose else waiting[:MOST]:
        branch.add(_session(snapshot, database, number, None))
    if len(waiting) > MOST and not verbose:
        branch.add(Text(f"and {len(waiting) - MOST} more (-v)", style="dim"))
    return top


def _session(snapshot: Snapshot, database: Database, number: int | None, root: LockWait | None) -> Text:
    session = database.session(number)
    if session is None:
        return Text(f"prepared transaction {plain(str(root and root.transaction))}, no session", style="bold")
    text = Text(f"session {session.id}", style="bold" if root else "")
    text.append(f" ({plain(session.user)}", style="not bold")
    text.append(
        f", transaction {plain(session.transaction)})" if session.transaction else ")", style="not bold"
    )
    doing = plain(session.doing)
    text.append(f" {doing}", style="not bold dim")
    if session.seconds is not None:
        text.append(f" for {age(session.seconds)}", style="not bold dim")
    if session.statement:
        text.append(f": {plain(session.statement[:_STATEMENT])}", style="not bold dim")
    who = _who(snapshot, database, session)
    return text.append(f"  <- {who}", style="not bold green") if who else text


def _who(snapshot: Snapshot, database: Database, session: Session) -> str:
    found = owner(snapshot, database, session.id)
    if found is None:
        return f"client {plain(session.client)}" if session.client else ""
    where = f" at {place(found.where)}" if found.where else ""
    return f"{person(found)}{where}"
