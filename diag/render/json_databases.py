"""What database servers said, as JSON of version 1. Keys are written by hand, as in ``json_v1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.render.database_clients import owner

if TYPE_CHECKING:
    from diag.model.databases import Database, LockWait, Session
    from diag.model.snapshot import Snapshot

Json = dict[str, Any]


def view(snapshot: Snapshot) -> list[Json]:
    """Every server with its sessions and who waits for whom."""
    return [
        {
            "dsn": database.server.dsn,
            "product": database.server.product,
            "version": database.server.version,
            "sessions": [_json_session(snapshot, database, session) for session in database.sessions],
            "waits": [_json_wait(wait) for wait in database.waits],
            "notes": list(database.notes),
        }
        for database in snapshot.databases
    ]


def _json_session(snapshot: Snapshot, database: Database, session: Session) -> Json:
    actor = owner(snapshot, database, session.id)
    return {
        "session": session.id,
        "thread": session.thread,
        "user": session.user,
        "client": session.client or None,
        "active": session.active,
        "doing": session.doing,
        "seconds": session.seconds,
        "transaction": session.transaction,
        "changed": session.changed,
        "statement": session.statement,
        "process": actor
        and {
            "pid": actor.pid or None,
            "tid": actor.tid,
            "process": actor.process,
            "thread": actor.thread,
            "where": actor.where
            and {"function": actor.where.function, "file": actor.where.file, "line": actor.where.line},
        },
    }


def _json_wait(wait: LockWait) -> Json:
    return {
        "waiter": wait.waiter,
        "blocker": wait.blocker,
        "transaction": wait.transaction,
        "kind": wait.kind,
        "lock": wait.name,
        "mode": wait.mode or None,
        "queued": wait.queued,
        "certain": wait.certain,
    }
