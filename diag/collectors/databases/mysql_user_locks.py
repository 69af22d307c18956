"""GET_LOCK of MySQL and MariaDB: who waits for a user lock, and the session that has it.

Without performance_schema no table lists them. But the statement that waits names its lock, and IS_USED_LOCK
tells who has a lock of that name, to everybody: so the server is asked for both in one statement. It
answers only of statements that call GET_LOCK once, with the name written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.databases import LockWait
from diag.model.facts import Evidence, Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.host import Rows
    from diag.model.databases import Session

STATE = "user lock"
"""What a session does that waits for one, in information_schema.processlist."""

_REST = "replace(substring(info, locate('get_lock', lower(info)) + 8), '\"', '''')"
# MariaDB tells names apart by their case, MySQL does not: the name is asked for as it is written.
_NAME = f"substring_index(substring_index({_REST}, '''', 2), '''', -1)"
QUERY = (
    f"select id, {_NAME} as name, is_used_lock({_NAME}) as holder from information_schema.processlist "
    f"where lower(state) = '{STATE}' and {_REST} regexp '^ *[(] *''[^'']+'' *,' "
    "and length(info) - length(replace(lower(info), 'get_lock', '')) = 8"
)


def user_lock_waits(rows: Rows, told: Iterable[LockWait]) -> Iterator[LockWait]:
    """Who waits for a user lock that somebody has; not those of whom it is ``told`` already."""
    known = {wait.waiter for wait in told}
    for row in rows.dicts() if rows.problem is None else ():
        waiter, holder, name = (str(row[key] or "") for key in ("id", "holder", "name"))
        if not waiter.isdigit() or not holder.isdigit() or int(waiter) in known:
            continue
        yield LockWait(
            waiter=int(waiter),
            blocker=int(holder),
            kind="advisory",
            key=f"USER:{name}",
            name=f"user lock `{name}`",
            evidence=(
                Evidence(
                    source="IS_USED_LOCK", text=f"id {waiter}, state User lock, name {name}, holder {holder}"
                ),
            ),
        )


def unexplained(sessions: Sequence[Session], waits: Iterable[LockWait], dsn: str) -> Iterator[Gap]:
    """Admit waits for user locks of which nothing tells who has them."""
    known = {wait.waiter for wait in waits}
    blind = [str(one.id) for one in sessions if is_user_lock(one) and one.id not in known]
    if blind:
        yield Gap(
            source=f"{dsn} IS_USED_LOCK",
            hides=f"who has the user lock for which session {', '.join(blind[:5])} waits",
            reason="no table lists who waits, and its statement does not write out the name",
            hint="performance_schema=ON, with the instrument wait/lock/metadata/sql/mdl; by hand: SELECT "
            "IS_USED_LOCK('NAME')",
            blinds=frozenset({"D002", "D003"}),
        )


def is_user_lock(session: Session) -> bool:
    """Whether a session waits for a user lock."""
    return session.doing.lower() == STATE
