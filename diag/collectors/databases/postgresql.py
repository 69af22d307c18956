"""PostgreSQL: what pg_stat_activity, pg_locks and pg_prepared_xacts say of sessions and locks.

Sources: the manual of PostgreSQL 15, chapters 28.2.3 (pg_stat_activity), 54.12 (pg_locks) and 9.26
(pg_blocking_pids); measured on PostgreSQL 15. Needs 10 or newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.databases import RULES, Found, unanswered
from diag.collectors.databases.postgresql_locks import lock_waits
from diag.host import Problem
from diag.model.databases import Database, Server, Session
from diag.model.facts import Evidence, Gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.host import Host, Rows

    Row = Mapping[str, object]
    Results = Mapping[str, Rows]

_LENGTH = 4096  # characters of a statement
_HIDDEN = "<insufficient privilege>"
_TARGET = (
    "locktype", "database", "relation", "page", "tuple", "virtualxid", "transactionid", "classid", "objid",
    "objsubid",
)  # fmt: skip


def _sessions(leader: str) -> str:
    seconds = "extract(epoch from clock_timestamp() - {})"
    since = "case when state = 'active' then query_start else state_change end"
    return (
        f"select pid, {leader} as leader, usename, host(client_addr) as client_addr, client_port, "
        f"backend_type, state, wait_event_type, wait_event, {seconds.format(since)} as seconds, backend_xid, "
        f"xact_start::text as began, {seconds.format('xact_start')} as open_for, "
        f"query = '{_HIDDEN}' as hidden, left(nullif(query, '{_HIDDEN}'), {_LENGTH}) as statement "
        "from pg_stat_activity where datid is not null and pid <> pg_backend_pid()"
    )


QUERIES = {
    "server": "select current_setting('server_version') as version, current_setting('port') as port, "
    "quote_ident(current_user) as login, inet_server_port() as reached",
    "settings": "select setting as directories from pg_settings where name = 'unix_socket_directories'",
    "sessions": _sessions("leader_pid"),
    "old_sessions": _sessions("null"),  # before 13
    # Who waits, who else has a lock on the same thing, the rows that those who wait have in hand, and the
    # numbers of prepared transactions.
    "locks": "with l as materialized (select * from pg_locks where pid is distinct from pg_backend_pid()) "
    "select l.pid, l.mode, l.granted, l.virtualtransaction, "
    f"{', '.join(f'l.{name}' for name in _TARGET)}, quote_ident(n.nspname) as schema, "
    "quote_ident(c.relname) as name, d.datname, "
    "case when not l.granted then array_to_string(pg_blocking_pids(l.pid), ',') end as blockers "
    "from l left join pg_database d on d.oid = l.database "
    "left join pg_class c on c.oid = l.relation and (l.database = 0 or d.datname = current_database()) "
    "left join pg_namespace n on n.oid = c.relnamespace "
    "where not l.granted or l.locktype = 'tuple' or (l.pid is null and l.locktype = 'transactionid') "
    "or exists (select from l w where not w.granted and "
    f"({', '.join(f'w.{name}' for name in _TARGET)}) is not distinct from "
    f"({', '.join(f'l.{name}' for name in _TARGET)}))",
    "prepared": "select transaction, gid, owner, database, prepared::text as prepared from pg_prepared_xacts",
}
"""Each may fail alone. Columns called ``statement`` come masked."""
QUERIES["old_locks"] = QUERIES["locks"].replace("as materialized (", "as (")  # before 12

_HINTS = {
    "limit": "the server takes no more connections: name a login that may use its reserved ones (a "
    "superuser; from PostgreSQL 16 on GRANT pg_use_reserved_connections), or raise max_connections (a role's "
    "or database's own: CONNECTION LIMIT)",
    "tls": "add ?sslmode=require to the DSN, or ?sslmode=verify-full&sslrootcert=/path/to/ca.pem; "
    "?sslmode=disable where the server has no TLS",
    "entry": "where pg_hba.conf lets this user in only with TLS (hostssl), add ?sslmode=require to the DSN; "
    "else add a line for this user, database and address to it",
    "service": "name a section of ~/.pg_service.conf, or of the file that PGSERVICEFILE names, in PGSERVICE",
    "missing": "name a user and a database that exist: postgresql://user@host:5432/NAME",
    "denied": "check user, password and pg_hba.conf; put the login into PGPASSFILE, "
    "~/.config/diag/databases (mode 600) or DIAG_DSN, not on the command line",
}


def collect(host: Host, dsn: str, *, literals: bool = False) -> Found:
    """Ask one server."""
    answers = host.query(dsn, tuple(QUERIES.values()), literals=literals)
    if answers.problem is not None:
        return Found(None, (unanswered(dsn, answers.problem, hints=_HINTS),))
    results = dict(zip(QUERIES, answers.results, strict=False))
    first = results.get("server")
    if first is None or first.problem is not None or not first.rows:
        problem = (first.problem if first else None) or Problem("other", "", "an answer without rows")
        return Found(None, (unanswered(dsn, problem, hints=_HINTS),))
    return Found(parse(results, dsn), tuple(_gaps(results, dsn)))


def parse(results: Results, dsn: str) -> Database:
    """Put together what the answers to ``QUERIES`` say."""
    about = results["server"].dicts()[0]
    port = _text(about.get("port"))
    directories = "".join(_text(row["directories"]) for row in results["settings"].dicts())
    directory = directories.partition(",")[0].strip()
    server = Server(
        dsn=dsn,
        product="PostgreSQL",
        version=_text(about.get("version")),
        port=int(port) if port.isdigit() else None,
        socket=f"{directory}/.s.PGSQL.{port}" if directory and port else None,
    )
    rows = _either(results, "sessions", "old_sessions").dicts()
    leaders = {_number(row["pid"]): _number(row["leader"]) for row in rows if _number(row["leader"])}
    sessions = tuple(_session(row) for row in rows if _number(row["pid"]) not in leaders)
    locks, prepared = _either(results, "locks", "old_locks").dicts(), results["prepared"].dicts()
    return Database(server=server, sessions=sessions, waits=tuple(lock_waits(locks, prepared, leaders)))


def _either(results: Results, new: str, old: str) -> Rows:
    return results[new] if results[new].problem is None else results[old]


def _session(row: Row) -> Session:
    state, event = _text(row["state"]), _text(row["wait_event"])
    waits = f" ({_text(row['wait_event_type'])}: {event})" if event and state != "idle" else ""
    number, began = _number(row["pid"]), _text(row["began"])
    port = _text(row["client_port"])
    shown = ", ".join(
        f"{name} {_text(value)}"
        for name, value in row.items()
        if value is not None and name not in ("hidden", "leader")
    )
    return Session(
        id=number,
        thread=number,  # a process serves each session
        user=_text(row["usename"]),
        client=_address(_text(row["client_addr"]), port),
        local=port == "-1",
        # What is no client (autovacuum, say) has no state unless it works.
        active=state in ("active", "fastpath function call"),
        doing=f"{state or _text(row['backend_type'])}{waits}",
        seconds=_seconds(row["seconds"]),
        transaction=_text(row["backend_xid"]) or (f"begun {began}" if began else None),
        began=began or None,
        open_for=_seconds(row["open_for"]),
        statement=_text(row["statement"]) or None,
        evidence=Evidence(source="pg_stat_activity", text=shown),
    )


def _address(host: str, port: str) -> str:
    """An address as /proc/net/tcp is shown: IPv6 in brackets; "" for a UNIX socket."""
    if not host or not port:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _gaps(results: Results, dsn: str) -> Iterator[Gap]:
    """Say what was denied, with the exact GRANT, and what broke off midway."""
    rows = _either(results, "sessions", "old_sessions").dicts()
    if any(_text(row["hidden"]) == "t" for row in rows):
        yield Gap(
            source=f"{dsn} pg_stat_activity",
            hides="state, client and statement of the sessions of other users",
            reason="insufficient privilege",
            hint=f"GRANT pg_read_all_stats TO {_text(results['server'].dicts()[0].get('login'))};",
            blinds=RULES,
        )
    for new, old in (("sessions", "old_sessions"), ("locks", "old_locks"), ("prepared", "prepared")):
        problem = _either(results, new, old).problem
        if problem is not None:
            # That an old server lacks a column is said by the newer question only.
            yield unanswered(dsn, problem, hints={"missing": "PostgreSQL 10 or newer is needed"})
            return


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> int:
    text = _text(value)
    return int(text) if text.isascii() and text.isdigit() else 0


def _seconds(value: object) -> float | None:
    try:
        return max(float(_text(value)), 0.0)
    except ValueError:
        return None
