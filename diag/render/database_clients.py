"""Whose a database session is, as far as a report knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.databases import Client, Database
    from diag.model.graph import Actor, Hold
    from diag.model.snapshot import Snapshot


def owner(snapshot: Snapshot, database: Database, number: int) -> Actor | None:
    """The thread that uses a session, else its process."""
    for each in _known(snapshot):
        session = each.session
        if session and (session.server, session.id) == (database.server.dsn, number):
            return each.waiter if isinstance(each, Wait) else each.holder
    client = _client(snapshot, database, number)
    return client.actor if client else None


def _known(snapshot: Snapshot) -> Iterator[Wait | Hold]:
    for wait in snapshot.waits:
        yield wait
        yield from wait.holds


def _client(snapshot: Snapshot, database: Database, number: int) -> Client | None:
    return next((c for c in snapshot.clients if (c.server, c.session) == (database.server.dsn, number)), None)
