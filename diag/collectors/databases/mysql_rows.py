"""Sessions and row locks of MySQL and MariaDB, from rows of their tables. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.databases import LockWait, Session
from diag.model.facts import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.host import Rows

    Row = Mapping[str, object]
    Results = Mapping[str, Rows]

_TRANSACTIONS = "information_schema.innodb_trx"
_PROCESSES = "information_schema.processlist"


def parse_sessions(results: Results, own: object) -> tuple[Session, ...]:
    """Join processes, transactions, thread ids and last statements; diag's ``own`` session is left out."""
    source = results["mariadb_sessions"]
    rows = (source if source.problem is None else results["sessions"]).dicts()
    tids = {row["id"]: row["tid"] for row in results["threads"].dicts()}
    last = {row["id"]: row["statement"] for row in results["last_statements"].dicts()}
    open_ = {row["trx_mysql_thread_id"]: row for row in results["transactions"].dicts()}
    return tuple(
        _session({"tid": tids.get(row["id"]), **row}, open_.get(row["id"]), last.get(row["id"]))
        for row in rows
        if row["id"] != own and row["command"] != "Daemon"
    )


def _session(row: Row, transaction: Row | None, last: object) -> Session:
    host = _text(row["host"])
    active = _text(row["command"]) not in ("Sleep", "Connect", "")
    return Session(
        id=_number(row["id"]),
        thread=_number(row["tid"]) or None,
        user=_text(row["user"]),
        client=host if ":" in host else "",
        local=host in ("localhost", ""),  # without grant tables the server names nobody
        active=active,
        doing=_text(row["state"]) or _text(row["command"]),
        seconds=_seconds(row["seconds"]),
        transaction=_transaction(transaction) if transaction else None,
        began=_text(transaction["trx_started"]) if transaction else None,
        open_for=_seconds(transaction.get("trx_seconds")) if transaction else None,
        changed=_number(transaction["trx_rows_modified"]) if transaction else 0,
        statement=_text(row["statement"]) or _text(last) or None,
        evidence=_evidence(row, transaction),
    )


def _evidence(row: Row, transaction: Row | None) -> Evidence:
    process = ", ".join(
        f"{name} {_text(row[name]) or '-'}"
        for name in ("id", "user", "host", "command", "state", "seconds", "statement")
    )
    if transaction is None:
        return Evidence(source=_PROCESSES, text=process)
    about = ", ".join(f"{name} {_text(value)}" for name, value in transaction.items())
    return Evidence(source=f"{_PROCESSES} and {_TRANSACTIONS}", text=f"{process}; {about}")


def _transaction(row: Row) -> str:
    """Its number; one that has changed nothing yet has number 0 (MariaDB), so its start names it."""
    number = _text(row["trx_id"])
    return number if number not in ("", "0") else f"begun {_text(row['trx_started'])}"


def row_waits(results: Results) -> Iterator[LockWait]:
    """Every pair of a waiting and a blocking transaction."""
    old = results["old_lock_waits"]
    rows, table = (
        (old, "information_schema.innodb_lock_waits")
        if old.problem is None
        else (results["lock_waits"], "performance_schema.data_lock_waits")
    )
    transactions = {_text(row["trx_id"]): row for row in results["transactions"].dicts()}
    prepared = [_text(row["data"]) for row in results["prepared"].dicts()]
    for row in rows.dicts():
        waiter = transactions.get(_text(row["requesting_trx_id"]))
        blocker = transactions.get(_text(row["blocking_trx_id"]))
        if waiter is None:
            continue  # it has got the lock meanwhile
        session = _number(blocker["trx_mysql_thread_id"]) if blocker else 0
        yield LockWait(
            waiter=_number(waiter["trx_mysql_thread_id"]),
            blocker=session or None,
            transaction=_text(row["blocking_trx_id"]),
            kind="row" if _text(row["lock_type"]) == "RECORD" else "table",
            key=_key(row),
            name=_name(row, prepared if blocker is not None and not session else ()),
            mode=_text(row["lock_mode"]),
            queued=blocker is not None and _text(blocker["trx_state"]) == "LOCK WAIT",
            evidence=(Evidence(source=table, text=_pairs(row)),),
        )


def _key(row: Row) -> str:
    """The lock without the transaction that asks for it: "27:5:3:2" is transaction:space:page:record.

    MySQL writes address:space:page:record:address; the table and index stand for it there.
    """
    words = _text(row["requested_lock_id"]).split(":")
    place = words[1:4] if len(words) in (3, 4) else words[1:4] or words
    return ":".join((_text(row["lock_table"]), _text(row["lock_index"]), *place))


def _name(row: Row, prepared: tuple[str, ...] | list[str]) -> str:
    kind = "row lock" if _text(row["lock_type"]) == "RECORD" else "table lock"
    index = _text(row["lock_index"])
    record = _text(row["lock_data"])
    where = f" (index {index}{', record ' + record if record else ''})" if index else ""
    orphan = f", left by a prepared XA transaction ({', '.join(prepared)})" if prepared else ""
    return f"{kind} on {_text(row['lock_table']) or 'a table'}{where}{orphan}"


def _pairs(row: Row) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in row.items() if value is not None)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> int:
    text = _text(value)
    return int(text) if text.isdigit() else 0


def _seconds(value: object) -> float | None:
    try:
        return float(_text(value))
    except ValueError:
        return None
