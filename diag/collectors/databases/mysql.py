"""MySQL and MariaDB: what their information_schema and performance_schema say of sessions and locks.

Sources: the reference manuals of MySQL 8.4 and MariaDB 10.11 on the tables named below; measured on
MariaDB 10.11. Which of the tables a server has, is found by asking for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.databases import RULES, Found, mysql_metadata, mysql_user_locks, unanswered
from diag.collectors.databases.mysql_metadata import metadata_waits
from diag.collectors.databases.mysql_rows import parse_sessions, row_waits
from diag.collectors.databases.mysql_user_locks import QUERY as USER_LOCKS
from diag.collectors.databases.mysql_user_locks import user_lock_waits
from diag.host import Problem
from diag.model.databases import Database, Server
from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.host import Host, Rows
    from diag.model.databases import LockWait, Session

_LENGTH = 4096  # characters of a statement
_STATEMENT = f"left(info, {_LENGTH}) as statement"
_LOCK = "l.lock_mode, l.lock_type, l.lock_data"

QUERIES = {
    "server": "select version() as version, @@version_comment as comment, @@port as port, "
    "@@socket as socket, current_user() as login, connection_id() as own, "
    "@@performance_schema as performance_schema",
    "mariadb_sessions": "select id, user, host, command, state, time_ms / 1000 as seconds, tid, "
    f"{_STATEMENT} from information_schema.processlist",
    "sessions": "select id, user, host, command, state, time as seconds, "
    f"{_STATEMENT} from information_schema.processlist",
    "threads": "select processlist_id as id, thread_os_id as tid from performance_schema.threads "
    "where processlist_id is not null",
    "transactions": "select trx_id, trx_state, trx_started, trx_mysql_thread_id, trx_rows_locked, "
    "trx_rows_modified, timestampdiff(second, trx_started, now()) as trx_seconds "
    "from information_schema.innodb_trx",
    "old_lock_waits": "select w.requesting_trx_id, w.blocking_trx_id, w.requested_lock_id, "
    f"l.lock_table, l.lock_index, {_LOCK} from information_schema.innodb_lock_waits w "
    "left join information_schema.innodb_locks l on l.lock_id = w.requested_lock_id",
    "lock_waits": "select w.requesting_engine_transaction_id as requesting_trx_id, "
    "w.blocking_engine_transaction_id as blocking_trx_id, "
    "w.requesting_engine_lock_id as requested_lock_id, "
    "concat('`', l.object_schema, '`.`', l.object_name, '`') as lock_table, l.index_name as lock_index, "
    f"{_LOCK} from performance_schema.data_lock_waits w left join performance_schema.data_locks l "
    "on l.engine_lock_id = w.requesting_engine_lock_id",
    "metadata": "select t.processlist_id as id, m.object_type, m.object_schema, m.object_name, "
    "m.lock_type, m.lock_status from performance_schema.metadata_locks m "
    "join performance_schema.threads t on t.thread_id = m.owner_thread_id "
    "where t.processlist_id is not null",
    "metadata_plugin": "select thread_id as id, lock_type as object_type, table_schema as object_schema, "
    "table_name as object_name, lock_mode as lock_type, 'GRANTED' as lock_status "
    "from information_schema.metadata_lock_info",
    "user_locks": USER_LOCKS,
    "last_statements": f"select t.processlist_id as id, left(e.sql_text, {_LENGTH}) as statement "
    "from performance_schema.events_statements_current e "
    "join performance_schema.threads t on t.thread_id = e.thread_id where t.processlist_id is not null",
    "prepared": "xa recover",
}
"""Each may fail alone. Columns called ``statement`` or ``lock_data`` come masked."""

_HINTS = {
    "denied": "check user and password; put them into ~/.config/diag/databases (mode 600) or DIAG_DSN, not "
    "on the command line. A user that must come with TLS (REQUIRE SSL) hears the same: add ?ssl=1 or "
    "?ssl_ca=/path/to/ca.pem",
}

Results = dict[str, "Rows"]


def collect(host: Host, dsn: str, *, literals: bool = False) -> Found:
    """Ask one server."""
    answers = host.query(dsn, tuple(QUERIES.values()), literals=literals)
    if answers.problem is not None:
        return Found(None, (unanswered(dsn, answers.problem, hints=_HINTS),))
    results = dict(zip(QUERIES, answers.results, strict=False))
    first = results.get("server")
    if first is None or first.problem is not None or not first.rows:
        return Found(None, (_lost(dsn, first),))
    database = parse(results, dsn)
    unexplained = (
        *mysql_metadata.unexplained(database.sessions, database.waits, dsn),
        *mysql_user_locks.unexplained(database.sessions, database.waits, dsn),
    )
    return Found(database, (*_gaps(results, dsn), *unexplained))


def _lost(dsn: str, first: Rows | None) -> Gap:
    problem = first.problem if first and first.problem else Problem("other", "", "an answer without rows")
    return unanswered(dsn, problem)


def parse(results: Mapping[str, Rows], dsn: str) -> Database:
    """Put together what the answers to ``QUERIES`` say."""
    about = results["server"].dicts()[0]
    version = str(about.get("version") or "")
    server = Server(
        dsn=dsn,
        product="MariaDB" if "mariadb" in f"{version} {about.get('comment')}".lower() else "MySQL",
        version=version,
        port=int(about.get("port") or 0) or None,
        socket=str(about.get("socket") or "") or None,
    )
    sessions = parse_sessions(results, own=about.get("own"))
    return Database(server=server, sessions=sessions, waits=tuple(_waits(results, sessions)))


def _waits(results: Mapping[str, Rows], sessions: tuple[Session, ...]) -> Iterator[LockWait]:
    yield from row_waits(results)
    told = tuple(metadata_waits(results, sessions))
    yield from told
    yield from user_lock_waits(results["user_locks"], told)


def _gaps(results: Mapping[str, Rows], dsn: str) -> Iterator[Gap]:
    """Say what was denied, with the exact GRANT, and what broke off midway."""
    about = results["server"].dicts()[0]
    user, _, place = str(about.get("login") or "").rpartition("@")
    login = f"'{user}'@'{place}'"
    transactions = results["transactions"].problem
    if transactions and transactions.kind == "privilege":
        yield Gap(
            source=f"{dsn} information_schema.innodb_trx",
            hides="transactions, row locks, and the sessions of other users",
            reason=f"{transactions.text} (error {transactions.code})",
            hint=f"GRANT PROCESS ON *.* TO {login};",
            blinds=RULES,
        )
    denied = [rows.problem for rows in results.values() if rows.problem and rows.problem.code == "1142"]
    if about.get("performance_schema") and denied:
        yield Gap(
            source=f"{dsn} performance_schema",
            hides="who holds a metadata lock, and the last statements of idle sessions",
            reason=f"{denied[0].text} (error 1142)",
            hint=f"GRANT SELECT ON performance_schema.* TO {login};",
            blinds=frozenset({"D004"}),
        )
    broken = [rows.problem for rows in results.values() if rows.problem]
    for problem in broken:
        if problem.kind in ("lost", "timeout"):
            yield unanswered(dsn, problem)
            return
    if all(results[name].problem for name in ("old_lock_waits", "lock_waits")) and not (
        transactions and transactions.kind == "privilege"
    ):
        yield _no_row_locks(results["lock_waits"].problem, dsn, login)


def _no_row_locks(problem: Problem | None, dsn: str, login: str) -> Gap:
    denied = problem is not None and problem.kind == "privilege"
    return Gap(
        source=dsn,
        hides="who waits for which row lock",
        reason=problem.text if problem else "no answer",
        hint=f"GRANT SELECT ON performance_schema.* TO {login};"
        if denied
        else "this server has neither performance_schema.data_lock_waits nor "
        "information_schema.innodb_lock_waits: enable InnoDB, or performance_schema=ON",
        blinds=RULES,
    )
