"""Rows of PostgreSQL -> sessions and lock waits. The rows are those of a PostgreSQL 15."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diag.collectors.databases.postgresql import QUERIES, parse
from diag.collectors.databases.postgresql_locks import conflict
from diag.host import Problem, Rows

if TYPE_CHECKING:
    from diag.model.databases import Database

SESSION = (
    "pid leader usename client_addr client_port backend_type state wait_event_type wait_event seconds "
    "backend_xid began open_for hidden statement"
)
BEGAN = "2026-11-26 10:46:20.983776+00"
LOCK = (
    "pid mode granted virtualtransaction locktype database relation page tuple virtualxid transactionid "
    "classid objid objsubid schema name datname blockers"
)
TABLE = ("16391", "16392")
MISSING = Rows(problem=Problem("missing", "42703", 'column "leader_pid" does not exist'))
NAMES = ("public", "account", "shop")


def rows(columns: str, *values: tuple[str | None, ...]) -> Rows:
    return Rows(columns=tuple(columns.split()), rows=values)


def session(
    pid: int,
    state: str,
    *,
    began: str | None = BEGAN,
    leader: str | None = None,
    address: str | None = "127.0.0.1",
) -> tuple[str | None, ...]:
    place = (address, "58546") if address else (None, "-1")
    about = (str(pid), leader, "app", *place, "client backend", state, "Client", "ClientRead", "4.26")
    return (*about, None, began, "4.27" if began else None, "f", "update account set balance = balance - ?")


def relation(
    pid: int | None, mode: str, blockers: str | None = None, virtual: str = "3/1"
) -> tuple[str | None, ...]:
    granted = "f" if blockers else "t"
    where = ("relation", *TABLE, None, None, None, None, None, None, None)
    return (str(pid) if pid else None, mode, granted, virtual, *where, *NAMES, blockers)


def row(pid: int, blockers: str | None = None) -> tuple[str | None, ...]:
    where = ("tuple", *TABLE, "0", "1", None, None, None, None, None)
    return (str(pid), "ExclusiveLock", "f" if blockers else "t", "4/2", *where, *NAMES, blockers)


def transaction(
    pid: int | None, number: str, blockers: str | None = None, virtual: str = "3/56"
) -> tuple[str | None, ...]:
    where = ("transactionid", None, None, None, None, None, number, None, None, None, None, None, None)
    mode = "ShareLock" if blockers else "ExclusiveLock"
    return (str(pid) if pid else None, mode, "f" if blockers else "t", virtual, *where, blockers)


def advisory(pid: int, keys: tuple[str, str, str], blockers: str | None = None) -> tuple[str | None, ...]:
    where = ("advisory", "16391", None, None, None, None, None, *keys, None, None, "shop")
    return (str(pid), "ExclusiveLock", "f" if blockers else "t", "3/0", *where, blockers)


def said(
    *locks: tuple[str | None, ...], sessions: tuple[tuple[str | None, ...], ...] | None = (), **more: Rows
) -> Database:
    results = {
        **dict.fromkeys(QUERIES, MISSING),
        "server": rows("version port login reached", ("15.18", "5432", "diag", "5432")),
        "settings": rows("directories", ("/run/postgresql, /tmp",)),
        "sessions": MISSING if sessions is None else rows(SESSION, *sessions),
        "locks": rows(LOCK, *locks),
        "prepared": rows("transaction gid owner database prepared"),
        **more,
    }
    return parse(results, "postgresql://diag@127.0.0.1/shop")


def test_sessions_and_where_they_come_from() -> None:
    database = said(
        sessions=(
            session(10, "idle in transaction"),
            session(11, "active", address=None),
            session(12, "idle", began=None, address="::1"),
            session(13, "active", leader="11"),
        )
    )
    assert (database.server.port, database.server.socket) == (5432, "/run/postgresql/.s.PGSQL.5432")
    first, second, third = database.sessions  # a parallel worker is no session
    assert (first.client, first.active, first.transaction) == ("127.0.0.1:58546", False, f"begun {BEGAN}")
    assert (first.seconds, first.doing) == (4.26, "idle in transaction (Client: ClientRead)")
    assert (second.client, second.local, second.active) == ("", True, True)
    assert (third.client, third.transaction, third.doing) == ("[::1]:58546", None, "idle")


def test_a_session_that_is_hidden_is_not_called_idle_for_a_while() -> None:
    nothing = (None,) * 11
    hidden = ("10", None, "app", *nothing[:6], *nothing[:4], "t", None)
    found = said(sessions=(hidden,)).sessions[0]
    assert (found.active, found.seconds, found.transaction, found.client, found.local) == (
        False,
        None,
        None,
        "",
        False,
    )


def test_a_row_lock_has_the_name_of_the_row_in_hand_and_one_root() -> None:
    database = said(
        transaction(10, "741"), transaction(11, "741", "10", "4/2"), row(11), row(12, "11"), row(13, "11,12")
    )
    assert {(w.waiter, w.blocker, w.queued) for w in database.waits} == {
        (11, 10, False), (12, 11, True), (13, 11, True), (13, 12, True),
    }  # fmt: skip
    (root,) = database.roots(13)
    assert (root.blocker, root.name) == (10, "row lock on public.account")


def test_the_queue_behind_a_statement_that_changes_the_table() -> None:
    database = said(
        relation(12, "AccessShareLock", "11"),
        relation(10, "AccessShareLock"),
        relation(11, "AccessShareLock"),  # it has read the table itself
        relation(11, "AccessExclusiveLock", "10"),
    )
    first, second = database.waits
    assert (first.waiter, first.blocker, first.kind, first.queued) == (11, 10, "relation", False)
    assert (second.waiter, second.blocker, second.kind, second.queued) == (12, 11, "table", True)
    assert first.key == second.key


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (("0", "4711", "1"), "4711"),
        (("4294967295", "4294967295", "1"), "-1"),
        (("1", "2", "1"), "4294967298"),
        (("1", "4294967295", "2"), "(1, -1)"),
    ],
)
def test_advisory_locks_are_named_as_the_program_does(keys: tuple[str, str, str], name: str) -> None:
    (wait,) = said(advisory(10, keys), advisory(11, keys, "10")).waits
    assert (wait.kind, wait.name) == ("advisory", f"advisory lock {name}")


def test_a_prepared_transaction_has_no_process_but_a_name() -> None:
    database = said(
        relation(None, "RowExclusiveLock", virtual="3/64"),
        transaction(None, "746", virtual="3/64"),
        relation(11, "AccessExclusiveLock", "0"),
        prepared=rows("transaction gid owner database prepared", ("746", "it's", "app", "shop", BEGAN)),
    )
    (wait,) = database.waits
    assert (wait.waiter, wait.blocker, wait.transaction, wait.queued) == (11, None, "'it''s'", False)


def test_a_parallel_worker_waits_for_its_leader() -> None:
    database = said(
        relation(10, "AccessExclusiveLock"),
        relation(13, "AccessShareLock", "10"),
        sessions=(session(10, "active"), session(11, "active"), session(13, "active", leader="11")),
    )
    assert [(wait.waiter, wait.blocker) for wait in database.waits] == [(11, 10)]


def test_before_13_there_are_no_leaders() -> None:
    found = said(sessions=None, old_sessions=rows(SESSION, session(10, "idle"))).sessions
    assert [one.id for one in found] == [10]


@pytest.mark.parametrize(
    ("one", "other", "excludes"),
    [
        ("AccessShareLock", "AccessExclusiveLock", True),
        ("AccessShareLock", "ExclusiveLock", False),
        ("RowShareLock", "ExclusiveLock", True),
        ("RowExclusiveLock", "RowExclusiveLock", False),
        ("RowExclusiveLock", "ShareLock", True),
        ("ShareUpdateExclusiveLock", "ShareUpdateExclusiveLock", True),
        ("ShareLock", "ShareLock", False),
        ("ShareLock", "ShareUpdateExclusiveLock", True),
        ("ShareRowExclusiveLock", "RowShareLock", False),
        ("SIReadLock", "SIReadLock", True),
    ],
)
def test_which_modes_exclude_each_other(one: str, other: str, *, excludes: bool) -> None:
    assert conflict(one, other) is excludes
    assert conflict(other, one) is excludes
