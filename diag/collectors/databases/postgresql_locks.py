"""Who waits for whom in PostgreSQL, from the rows of pg_locks and pg_blocking_pids(). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.databases import LockWait
from diag.model.facts import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = Mapping[str, object]

_TARGETS = (
    "database",
    "relation",
    "page",
    "tuple",
    "virtualxid",
    "transactionid",
    "classid",
    "objid",
    "objsubid",
)
_WORDS = {"transactionid": "transaction", "virtualxid": "transaction", "tuple": "row", "advisory": "advisory"}
"""locktype -> kind of wait; others stay what they are."""

# Manual, table 13.2, weakest first: mode -> the weakest mode it conflicts with. Share is the exception:
# it does not conflict with itself, and ShareUpdateExclusive does.
_MODES = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
_CONFLICTS_FROM = dict(zip(_MODES, (7, 6, 4, 3, 2, 2, 1, 0), strict=True))
_CHANGES_TABLE = frozenset(_MODES[3:])
"""What only statements about the table itself ask for: ALTER, CREATE INDEX, TRUNCATE, VACUUM, LOCK."""


def conflict(one: str, other: str) -> bool:
    """Whether two lock modes exclude each other; unknown modes do."""
    if one not in _CONFLICTS_FROM or other not in _CONFLICTS_FROM:
        return True
    if one == other == "ShareLock":
        return False
    return _MODES.index(other) >= _CONFLICTS_FROM[one]


def lock_waits(
    locks: Sequence[Row], prepared: Sequence[Row], leaders: Mapping[int, int]
) -> Iterator[LockWait]:
    """Every pair of a waiting session and one in its way; those that change a table come first.

    ``leaders``: parallel worker -> the session it works for.
    """
    waiting = [row for row in locks if row["granted"] == "f"]
    waiting.sort(key=lambda row: row["mode"] not in _CHANGES_TABLE)
    for request in waiting:
        same = [row for row in locks if _key(row) == _key(request)]
        waiter = _pid(request["pid"], leaders)
        blockers = {_pid(text, leaders) for text in _text(request["blockers"]).split(",") if text}
        for blocker in sorted(blockers - {waiter}):
            held = [row for row in same if _pid(row["pid"], leaders) == blocker and _excludes(row, request)]
            if blocker:
                yield _wait(request, waiter, blocker, held, locks)
            else:
                yield from (_orphan(request, waiter, row, locks, prepared) for row in held)


def _excludes(row: Row, request: Row) -> bool:
    return row["granted"] == "t" and conflict(_text(request["mode"]), _text(row["mode"]))


def _wait(request: Row, waiter: int, blocker: int, held: Sequence[Row], locks: Sequence[Row]) -> LockWait:
    return LockWait(
        waiter=waiter,
        blocker=blocker,
        kind=_kind(request),
        key=_key(request),
        name=_name(request, locks),
        mode=_text(request["mode"]),
        queued=not held or request["locktype"] == "tuple",  # who has the tuple is first in the queue
        evidence=tuple(map(_evidence, (request, *held[:2]))),
    )


def _orphan(request: Row, waiter: int, held: Row, locks: Sequence[Row], prepared: Sequence[Row]) -> LockWait:
    """A prepared transaction has no process; its virtual one leads to its number, and that to its name."""
    virtual = held["virtualtransaction"]
    own = (
        row for row in locks if row["virtualtransaction"] == virtual and row["locktype"] == "transactionid"
    )
    number = next((_text(row["transactionid"]) for row in own if row["pid"] is None), "")
    about = next((row for row in prepared if _text(row["transaction"]) == number), None)
    evidence = [_evidence(request), _evidence(held)]
    if about is not None:
        text = ", ".join(f"{name} {_text(value)}" for name, value in about.items())
        evidence.append(Evidence(source="pg_prepared_xacts", text=text))
    return LockWait(
        waiter=waiter,
        blocker=None,
        transaction=_quoted(_text(about["gid"])) if about else number,
        kind="row" if _kind(request) == "transaction" else _kind(request),
        key=_key(request),
        name=_name(request, locks),
        mode=_text(request["mode"]),
        evidence=tuple(evidence),
    )


def _quoted(gid: str) -> str:
    return "'" + gid.replace("'", "''") + "'"


def _kind(request: Row) -> str:
    locktype = _text(request["locktype"])
    if locktype == "relation":
        return "relation" if request["mode"] in _CHANGES_TABLE else "table"
    return _WORDS.get(locktype, locktype)


def _name(request: Row, locks: Sequence[Row]) -> str:
    locktype = _text(request["locktype"])
    if locktype == "advisory":
        return f"advisory lock {_advisory(request)}"
    if locktype == "relation":
        return f"table lock on {_relation(request)}"
    if locktype == "tuple":
        return f"row lock on {_relation(request)}"
    if locktype == "transactionid":
        # Who waits for a row has it in hand, and waits for the end of the transaction that changed it.
        row = next((r for r in locks if r["pid"] == request["pid"] and r["locktype"] == "tuple"), None)
        if row is not None:
            return f"row lock on {_relation(row)}"
        return f"lock of transaction {_text(request['transactionid'])}"
    if locktype == "virtualxid":
        return f"end of the transaction {_text(request['virtualxid'])}"
    where = f" on {_relation(request)}" if request["relation"] is not None else ""
    return f"{locktype} lock{where}"


def _relation(row: Row) -> str:
    """Its name; in another database than the one that diag is in, only its number is known."""
    if row["name"] is not None:
        return f"{_text(row['schema'])}.{_text(row['name'])}"
    return f"relation {_text(row['relation'])} of database {_text(row['datname']) or '?'}"


def _advisory(row: Row) -> str:
    """The number as the program gave it: one of 64 bits, or two of 32 (manual, 54.12)."""
    high, low = int(_text(row["classid"]) or 0), int(_text(row["objid"]) or 0)
    if _text(row["objsubid"]) == "2":
        return f"({_signed(high, 32)}, {_signed(low, 32)})"
    return str(_signed(high << 32 | low, 64))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _key(row: Row) -> str:
    return ":".join((_text(row["locktype"]), *(_text(row[name]) for name in _TARGETS)))


def _evidence(row: Row) -> Evidence:
    text = ", ".join(f"{name} {_text(value)}" for name, value in row.items() if value is not None)
    return Evidence(source="pg_locks", text=text)


def _pid(value: object, leaders: Mapping[int, int]) -> int:
    text = _text(value)
    number = int(text) if text.isascii() and text.isdigit() else 0
    return leaders.get(number, number)


def _text(value: object) -> str:
    return "" if value is None else str(value)
