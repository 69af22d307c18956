"""Rows of MySQL and MariaDB -> sessions and lock waits, as the manuals and real servers have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.databases.mysql import QUERIES, parse
from diag.collectors.databases.mysql_user_locks import unexplained
from diag.host import Problem, Rows

if TYPE_CHECKING:
    from diag.model.databases import Database

MISSING = Rows(problem=Problem("missing", "1109", "Unknown table"))


def rows(columns: str, *values: tuple[object, ...]) -> Rows:
    return Rows(columns=tuple(columns.split()), rows=values)  # type: ignore[arg-type]


def said(**given: Rows) -> Database:
    """What a server with only these tables says."""
    server = rows(
        "version comment port socket login own performance_schema",
        ("8.4.3", "MySQL Community Server - GPL", 3306, "/run/mysqld/mysqld.sock", "diag@%", 99, 1),
    )
    results = {**dict.fromkeys(QUERIES, MISSING), "server": server, **given}
    return parse(results, "mysql://diag@127.0.0.1:3306/")


SESSIONS = rows(
    "id user host command state seconds statement",
    (7, "app", "10.0.0.5:40100", "Sleep", "", 30, None),
    (8, "app", "10.0.0.5:40102", "Query", "updating", 12, "update t set a = ? where id = ?"),
    (9, "app", "localhost", "Query", "updating", 11, "update t set a = ? where id = ?"),
    (5, "event_scheduler", "localhost", "Daemon", "Waiting on empty queue", 900, None),
    (99, "diag", "127.0.0.1:5000", "Query", "executing", 0, "select"),
)
TRANSACTIONS = rows(
    "trx_id trx_state trx_started trx_mysql_thread_id trx_rows_locked trx_rows_modified trx_seconds",
    ("4001", "RUNNING", "2026-11-26 06:00:00", 7, 1, 1, 30),
    ("4002", "LOCK WAIT", "2026-11-26 06:00:18", 8, 1, 0, 12),
    ("4003", "LOCK WAIT", "2026-11-26 06:00:19", 9, 1, 0, 11),
)
LOCKS = (
    "requesting_trx_id blocking_trx_id requested_lock_id lock_table lock_index lock_mode lock_type lock_data"
)


def test_row_locks_of_mysql_8_from_performance_schema() -> None:
    lock = ("140:4:4:2:139", "`shop`.`t`", "PRIMARY", "X,REC_NOT_GAP", "RECORD", "?")
    database = said(
        sessions=SESSIONS,
        threads=rows("id tid", (7, 1007), (8, 1008), (9, 1009)),
        transactions=TRANSACTIONS,
        lock_waits=rows(LOCKS, ("4002", "4001", *lock), ("4003", "4002", *lock), ("4003", "4001", *lock)),
        last_statements=rows("id statement", (7, "update t set a = ? where id = ?")),
    )
    assert database.server.product == "MySQL"
    assert [session.id for session in database.sessions] == [7, 8, 9]
    idle = database.session(7)
    assert idle
    assert (idle.active, idle.thread, idle.transaction) == (False, 1007, "4001")
    assert idle.statement == "update t set a = ? where id = ?"
    assert [(wait.waiter, wait.blocker, wait.queued) for wait in database.waits] == [
        (8, 7, False), (9, 8, True), (9, 7, False),
    ]  # fmt: skip
    assert [wait.blocker for wait in database.roots(9)] == [7]
    assert len({wait.key for wait in database.waits}) == 1


def test_a_prepared_transaction_has_no_session() -> None:
    prepared = ("4001", "RUNNING", "2026-11-26 06:00:00", 0, 1, 1, 30)
    waiting = ("4002", "LOCK WAIT", "2026-11-26 06:00:18", 8, 1, 0, 12)
    database = said(
        sessions=SESSIONS,
        transactions=rows(" ".join(TRANSACTIONS.columns), prepared, waiting),
        old_lock_waits=rows(
            LOCKS, ("4002", "4001", "4002:5:3:2", "`shop`.`t`", "PRIMARY", "X", "RECORD", "?")
        ),
        prepared=rows("formatid gtrid_length bqual_length data", (1, 4, 0, "left")),
    )
    (wait,) = database.waits
    assert (wait.waiter, wait.blocker, wait.transaction) == (8, None, "4001")
    assert "left" in wait.name


METADATA = "id object_type object_schema object_name lock_type lock_status"


def test_metadata_locks_that_the_server_lists_are_certain() -> None:
    sessions = rows(
        "id user host command state seconds statement",
        (7, "app", "10.0.0.5:1", "Sleep", "", 30, None),
        (8, "app", "10.0.0.5:2", "Query", "Waiting for table metadata lock", 20, "alter table t add x int"),
        (9, "app", "10.0.0.5:3", "Query", "Waiting for table metadata lock", 10, "select ? from t"),
        (10, "app", "10.0.0.5:4", "Sleep", "", 40, None),
    )
    database = said(
        sessions=sessions,
        metadata=rows(
            METADATA,
            (7, "TABLE", "shop", "t", "SHARED_READ", "GRANTED"),
            (8, "TABLE", "shop", "t", "SHARED_UPGRADABLE", "GRANTED"),
            (8, "TABLE", "shop", "t", "EXCLUSIVE", "PENDING"),
            (9, "TABLE", "shop", "t", "SHARED_READ", "PENDING"),
            (10, "TABLE", "shop", "other", "SHARED_WRITE", "GRANTED"),
        ),
    )
    found = {(wait.waiter, wait.blocker, wait.queued, wait.certain) for wait in database.waits}
    assert found == {(8, 7, False, True), (9, 8, True, True)}
    assert [wait.blocker for wait in database.roots(9)] == [7]


def test_metadata_locks_that_nobody_lists_are_inferred_from_older_transactions() -> None:
    sessions = rows(
        "id user host command state seconds statement",
        (7, "app", "10.0.0.5:1", "Sleep", "", 30, None),
        (8, "app", "10.0.0.5:2", "Query", "Waiting for table metadata lock", 20, "alter table t add x int"),
        (9, "app", "10.0.0.5:3", "Query", "Waiting for table metadata lock", 10, "select ? from t"),
        (10, "app", "10.0.0.5:4", "Sleep", "", 40, None),
    )
    open_ = ("0", "RUNNING", "2026-11-26 06:00:00", 7, 0, 0, 30)
    newer = ("0", "RUNNING", "2026-11-26 06:00:15", 10, 0, 0, 15)  # began after the ALTER came
    database = said(sessions=sessions, transactions=rows(" ".join(TRANSACTIONS.columns), open_, newer))
    found = {(wait.waiter, wait.blocker, wait.queued, wait.certain) for wait in database.waits}
    assert found == {(8, 7, False, False), (9, 8, True, False)}


WANTS_NAME = rows(
    "id user host command state seconds statement",
    (7, "app", "10.0.0.5:1", "Sleep", "", 30, None),
    (8, "app", "10.0.0.5:2", "Query", "User lock", 20, "select get_lock(?, ?)"),
)


def test_user_locks_by_their_name_or_by_the_server_s_own_list() -> None:
    named = rows("id name holder", (8, "report", 7))
    listed = rows(
        METADATA,
        (7, "USER LEVEL LOCK", "", "report", "EXCLUSIVE", "GRANTED"),
        (8, "USER LEVEL LOCK", "", "report", "EXCLUSIVE", "PENDING"),
    )
    for given in ({"user_locks": named}, {"metadata": listed}, {"user_locks": named, "metadata": listed}):
        (wait,) = said(sessions=WANTS_NAME, **given).waits
        assert (wait.waiter, wait.blocker, wait.kind, wait.certain) == (8, 7, "advisory", True)
        assert wait.name == "user lock `report`"


def test_a_user_lock_is_nobody_s_where_nothing_tells() -> None:
    """Least of all that of who has a transaction open."""
    open_ = ("0", "RUNNING", "2026-11-26 06:00:00", 7, 0, 0, 30)
    database = said(
        sessions=WANTS_NAME,
        transactions=rows(" ".join(TRANSACTIONS.columns), open_),
        user_locks=rows("id name holder", (8, "report", None)),
    )
    assert not database.waits
    (gap,) = unexplained(database.sessions, database.waits, "mysql://db")
    assert "session 8" in gap.hides


def test_two_who_only_read_do_not_block_each_other() -> None:
    database = said(
        sessions=rows(
            "id user host command state seconds statement",
            (8, "app", "10.0.0.5:2", "Query", "Waiting for table metadata lock", 20, "drop table t"),
        ),
        metadata=rows(
            METADATA,
            (7, "TABLE", "shop", "t", "SHARED_READ", "GRANTED"),
            (6, "TABLE", "shop", "t", "SHARED_READ", "PENDING"),
            (8, "GLOBAL", "", "", "INTENTION_EXCLUSIVE", "GRANTED"),
            (6, "GLOBAL", "", "", "INTENTION_EXCLUSIVE", "PENDING"),
        ),
    )
    assert database.waits == ()
