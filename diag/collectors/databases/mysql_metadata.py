"""Metadata locks of MySQL and MariaDB: who keeps a table from being altered, and who waits behind. Pure.

The compatibility of lock types is that of sql/mdl.cc (the comments above ``m_granted_incompatible``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.databases.mysql_user_locks import is_user_lock
from diag.model.databases import LockWait
from diag.model.facts import Evidence, Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diag.host import Rows
    from diag.model.databases import Session

    Results = Mapping[str, Rows]

_WAITS = re.compile(r"waiting for .*(?:metadata lock|backup lock|global read lock)", re.IGNORECASE)
_WHOLE = re.compile(r"waiting for .*(?:backup lock|global read lock)", re.IGNORECASE)
"""Waits for whoever keeps the whole server from being changed: FLUSH TABLES WITH READ LOCK, BACKUP STAGE."""
_KEEPS_WHOLE = re.compile(r"FTWRL|BACKUP_(?:START|FLUSH|WAIT|BLOCK)|^SHARED$")
_DDL = re.compile(
    r"^\W*(?:alter|drop|rename|truncate|create|optimize|repair|analyze|lock|flush|backup)\b", re.IGNORECASE
)

_READ, _WRITE = ("SHARED_READ",), ("SHARED_WRITE", "SHARED_WRITE_LOW_PRIO")
_UPGRADE, _ONLY = ("SHARED_UPGRADABLE",), ("SHARED_READ_ONLY",)
_STRONG = ("SHARED_NO_READ_WRITE", "EXCLUSIVE")
_KEPT_OUT_BY: dict[str, tuple[str, ...]] = {
    "SHARED": ("EXCLUSIVE",),
    "SHARED_HIGH_PRIO": ("EXCLUSIVE",),
    "SHARED_READ": _STRONG,
    "SHARED_WRITE": (*_ONLY, "SHARED_NO_WRITE", *_STRONG),
    "SHARED_WRITE_LOW_PRIO": (*_ONLY, "SHARED_NO_WRITE", *_STRONG),
    "SHARED_UPGRADABLE": (*_UPGRADE, "SHARED_NO_WRITE", *_STRONG),
    "SHARED_READ_ONLY": (*_WRITE, *_STRONG),
    "SHARED_NO_WRITE": (*_WRITE, *_UPGRADE, "SHARED_NO_WRITE", *_STRONG),
    "SHARED_NO_READ_WRITE": (*_READ, *_WRITE, *_UPGRADE, *_ONLY, "SHARED_NO_WRITE", *_STRONG),
}
"""Type of a request for a table -> types that keep it out; EXCLUSIVE is kept out by all."""


class _Lock(NamedTuple):
    session: int
    scope: tuple[str, str, str]  # type of object, schema, name
    type: str
    granted: bool
    text: str


def metadata_waits(results: Results, sessions: Sequence[Session]) -> Iterator[LockWait]:
    """Who waits for a metadata lock, and behind whom.

    Where the server does not list metadata locks, the session that has one is inferred: a transaction
    that was open before the first waiter came keeps the lock of every table that it has touched.
    """
    waiting = sorted((s for s in sessions if _WAITS.search(s.doing)), key=lambda s: -(s.seconds or 0.0))
    if not waiting and not any(map(is_user_lock, sessions)):
        return
    listed = tuple(_listed(results))
    if any(not lock.granted for lock in listed):
        yield from _read(listed)
        return
    whole = [session for session in waiting if _WHOLE.search(session.doing)]
    for session in whole:
        yield from _whole_server(session, sessions, listed)
    if tables := [session for session in waiting if session not in whole]:
        yield from _inferred(tables, sessions, listed)


def unexplained(sessions: Sequence[Session], waits: Iterable[LockWait], dsn: str) -> Iterator[Gap]:
    """Admit waits for metadata locks of which nothing tells who has them."""
    known = {wait.waiter for wait in waits}
    blind = [one for one in sessions if _WAITS.search(one.doing) and one.id not in known]
    if not blind:
        return
    longest = max(one.seconds or 0.0 for one in blind)
    idle = [
        f"{one.id} ({one.user})" for one in sessions if not one.active and (one.seconds or 0.0) >= longest
    ]
    hand = f"; idle since before: session {', '.join(idle[:5])}" if idle else ""
    yield Gap(
        source=f"{dsn} information_schema.processlist",
        hides=f"who has what session {', '.join(str(one.id) for one in blind[:5])} waits for: "
        f'"{blind[0].doing}"',
        reason="the server does not list metadata locks, and the holder has no transaction open",
        hint=f"performance_schema=ON, or MariaDB's INSTALL SONAME 'metadata_lock_info'{hand}",
        blinds=frozenset({"D002", "D003", "D004"}),
    )


def _listed(results: Results) -> Iterator[_Lock]:
    for name in ("metadata", "metadata_plugin"):
        rows = results[name]
        if rows.problem is not None or not rows.rows:
            continue
        for row in rows.dicts():
            words = {key: "" if value is None else str(value) for key, value in row.items()}
            if not words["id"].isdigit():
                continue
            yield _Lock(
                int(words["id"]),
                (_scope(words["object_type"]), words["object_schema"], words["object_name"]),
                words["lock_type"].removeprefix("MDL_").upper(),
                words["lock_status"] == "GRANTED",
                ", ".join(f"{key} {value}" for key, value in words.items() if value),
            )
        return


def _scope(text: str) -> str:
    """Read the type of an object: TABLE, or "Table metadata lock" in the words of MariaDB's plugin."""
    return text.upper().replace(" METADATA LOCK", "").replace(" LOCK", "") if text else ""


def _read(locks: Sequence[_Lock]) -> Iterator[LockWait]:
    """Pairs of a pending request and a lock of the same object that keeps it out."""
    for request in (lock for lock in locks if not lock.granted):
        for other in locks:
            if other.scope != request.scope or other.session == request.session:
                continue
            if _keeps_out(request, other) and (other.granted or not _keeps_out(other, request)):
                yield _wait(request.session, other.session, request.scope, request.type, (request, other))


def _keeps_out(request: _Lock, other: _Lock) -> bool:
    if request.type == "EXCLUSIVE":
        return other.granted
    if request.type in _KEPT_OUT_BY:
        return other.type in _KEPT_OUT_BY[request.type] and (other.granted or other.type in _STRONG)
    return other.granted and not request.type == other.type == "INTENTION_EXCLUSIVE"


def _wait(
    waiter: int, blocker: int, scope: tuple[str, str, str], mode: str, locks: tuple[_Lock, ...]
) -> LockWait:
    request, other = locks
    advisory = scope[0].startswith("USER")
    name = ".".join(f"`{word}`" for word in scope[1:] if word)
    return LockWait(
        waiter=waiter,
        blocker=blocker,
        kind="advisory" if advisory else "metadata",
        key=":".join(scope),
        name=f"user lock {name}" if advisory else f"metadata lock on {name or scope[0].lower()}",
        mode=mode,
        queued=not other.granted,
        evidence=tuple(
            Evidence(source="performance_schema.metadata_locks", text=lock.text) for lock in (request, other)
        ),
    )


def _whole_server(
    session: Session, sessions: Sequence[Session], listed: Sequence[_Lock]
) -> Iterator[LockWait]:
    """Behind whom a session waits that may change nothing on the whole server."""
    alive = {one.id for one in sessions} - {session.id}
    for lock in listed:
        if lock.session in alive and lock.scope[0] in ("BACKUP", "GLOBAL") and _KEEPS_WHOLE.search(lock.type):
            yield LockWait(
                waiter=session.id,
                blocker=lock.session,
                kind="global",
                key="BACKUP",
                name="lock on the whole server (FLUSH TABLES WITH READ LOCK or BACKUP STAGE)",
                mode=lock.type,
                evidence=(
                    Evidence(source="information_schema.metadata_lock_info", text=lock.text),
                    *((session.evidence,) if session.evidence else ()),
                ),
            )


def _inferred(
    waiting: Sequence[Session], sessions: Sequence[Session], listed: Sequence[_Lock]
) -> Iterator[LockWait]:
    """The first statement that changes a table waits for open transactions, all later ones behind it."""
    first = next((s for s in waiting if _DDL.search(s.statement or "")), waiting[0])
    table = _table(first)
    name = f"metadata lock on {table}" if table else "metadata lock"
    for session in waiting:
        if session is not first:
            yield _guess(session, first, name, queued=True)
    for other in _holders(first, waiting, sessions, listed):
        yield _guess(first, other, name, queued=False)


def _holders(
    first: Session, waiting: Sequence[Session], sessions: Sequence[Session], listed: Sequence[_Lock]
) -> Iterable[Session]:
    word = _table(first).rpartition(".")[2].strip("`").lower()
    known = {lock.session for lock in listed if lock.scope[2].lower() == word}
    names = {lock.session for lock in listed}
    for other in sessions:
        if other is first or other in waiting or not other.transaction:
            continue
        if listed and (other.id in names) and other.id not in known:
            continue  # the plugin lists its locks, and none is of this table
        if other.open_for is not None and other.open_for + 1 < (first.seconds or 0.0):
            continue  # it began after the waiter came
        # A statement that began after the waiter came would queue behind it.
        if other.active and (other.seconds or 0.0) < (first.seconds or 0.0):
            continue
        yield other


def _guess(waiter: Session, blocker: Session, name: str, *, queued: bool) -> LockWait:
    rows = [session.evidence for session in (waiter, blocker) if session.evidence]
    return LockWait(
        waiter=waiter.id,
        blocker=blocker.id,
        transaction=blocker.transaction,
        kind="metadata",
        key=name,
        name=name,
        certain=False,
        queued=queued,
        evidence=tuple(rows),
    )


def _table(session: Session) -> str:
    """The table that a statement changes, as it is written there."""
    found = re.search(
        r"\b(?:table|tables|view|trigger|on)\s+(?:if\s+(?:not\s+)?exists\s+)?((?:`[^`]+`|\w+)(?:\.(?:`[^`]+`|\w+))?)",
        session.statement or "",
        re.IGNORECASE,
    )
    return found[1] if found else ""
