"""Asks PostgreSQL servers, with psycopg 3. PGSERVICE, PGPASSFILE and the like are libpq's own business."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg

from diag.host.drivers import CONNECT, MOST_ROWS, STATEMENT
from diag.host.records import Answers, Cell, Problem, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diag.host.dsn import Dsn

_SETTINGS = (
    "set default_transaction_read_only = on",
    f"set statement_timeout = {STATEMENT * 1000:.0f}",  # milliseconds
    "set lock_timeout = 1000",
    "set search_path = pg_catalog",  # nobody else's function or view of the same name
)
"""Set after the login: poolers refuse them in the startup packet. Each may fail alone."""

_OPTIONS = frozenset(
    {
        "host", "hostaddr", "port", "dbname", "user", "service", "passfile", "sslmode", "sslrootcert",
        "sslcert", "sslkey", "sslcrl", "channel_binding", "gssencmode", "target_session_attrs",
    }
)  # fmt: skip
"""What a DSN may tell libpq: nothing that writes a file, names a program or sets the session up."""

# By SQLSTATE, PostgreSQL manual, appendix A.
_KINDS = {
    "28P01": "denied",
    "28000": "denied",
    "42501": "privilege",
    "53300": "limit",
    "57014": "timeout",  # statement_timeout
    "55P03": "timeout",  # lock_timeout
    "57P01": "lost",
    "57P02": "lost",
    "57P03": "refused",  # starting up, shutting down
    "3D000": "missing",
    "42P01": "missing",
    "42703": "missing",
    "42883": "missing",
}

# libpq gives no SQLSTATE for a failed login: its own and the server's words, as they are in English.
_WORDS = (
    ("timeout expired", "timeout"),
    ("too many connections", "limit"),
    ("too many clients", "limit"),
    ("remaining connection slots", "limit"),
    ("no pg_hba.conf entry", "entry"),
    ("definition of service", "service"),
    ("service file", "service"),
    ("SSL", "tls"),
    ("certificate", "tls"),
    ("authentication", "denied"),
    ("no password supplied", "denied"),
    ("does not exist", "missing"),
    ("Connection refused", "refused"),
    ("No such file or directory", "refused"),
    ("starting up", "refused"),
    ("closed the connection", "lost"),
)


def ask(dsn: Dsn, statements: Sequence[str], closing: Callable[[Callable[[], object]], None]) -> Answers:
    """Run the statements, one by one, read only. What the server says becomes a ``Problem``."""
    try:
        connection = psycopg.Connection.connect(**_arguments(dsn))
    except (psycopg.Error, OSError, ValueError) as error:
        return Answers(problem=_no_login(error, dsn))
    closing(lambda: _break_off(connection))
    try:
        for setting in _SETTINGS:
            with suppress(psycopg.Error):
                connection.execute(setting)
        return Answers(results=tuple(_answer(connection, statement, dsn) for statement in statements))
    finally:
        with suppress(psycopg.Error, OSError):
            connection.close()


def _arguments(dsn: Dsn) -> dict[str, Any]:
    options: dict[str, Any] = {name: value for name, value in dsn.options if name in _OPTIONS}
    given = {
        "host": dsn.host,
        "port": dsn.port,
        "user": dsn.user,
        "password": dsn.password,
        "dbname": dsn.database,
    }
    options.update({name: value for name, value in given.items() if value})
    if not any((options.get("dbname"), options.get("service"), os.environ.get("PGDATABASE"))) and not (
        os.environ.get("PGSERVICE")
    ):
        options["dbname"] = "postgres"  # libpq would take the user's name, and few readers own a database
    if psycopg.pq.version() >= 160000 and options.get("sslmode") != "verify-full":
        options["require_auth"] = "!password"  # never in clear text to one who only claims to be the server
    return {
        **options,
        "connect_timeout": int(CONNECT),
        "application_name": "diag",
        "client_encoding": "utf8",
        "autocommit": True,
        "prepare_threshold": None,
    }


def _answer(connection: psycopg.Connection[Any], statement: str, dsn: Dsn) -> Rows:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement.encode())
            return _rows(cursor.pgresult)
    except psycopg.Error as error:
        return Rows(problem=_problem(error, dsn))
    except (OSError, ValueError) as error:
        return Rows(problem=Problem("lost", "", _without(str(error) or type(error).__name__, dsn)))


def _rows(result: psycopg.pq.abc.PGresult | None) -> Rows:
    """Take the values as they came: what programs put into statements need not be any encoding's text."""
    if result is None:
        return Rows()
    columns = range(result.nfields)
    return Rows(
        columns=tuple(_name(result.fname(column)) for column in columns),
        rows=tuple(
            tuple(_text(result.get_value(row, column)) for column in columns)
            for row in range(min(result.ntuples, MOST_ROWS))
        ),
    )


def _name(value: bytes | None) -> str:
    return bytes(value or b"").decode("utf-8", "replace")


def _text(value: bytes | None) -> Cell:
    return None if value is None else bytes(value).decode("utf-8", "replace")


def _no_login(error: Exception, dsn: Dsn) -> Problem:
    text = _without(" ".join(str(error).split()) or type(error).__name__, dsn)
    kind = next((kind for word, kind in _WORDS if word in text), "other")
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        kind = "timeout"
    code = getattr(error, "sqlstate", None) or ""
    return Problem(_KINDS.get(code, kind), code, text)


def _problem(error: psycopg.Error, dsn: Dsn) -> Problem:
    code = error.sqlstate or ""
    # Without a code it is libpq that speaks: the connection is gone.
    kind = _KINDS.get(code, "other" if code else "lost")
    return Problem(kind, code, _without(" ".join(str(error).split()), dsn))


def _without(text: str, dsn: Dsn) -> str:
    """Take the password out of a message, should one ever hold it."""
    for secret in {dsn.password, os.environ.get("PGPASSWORD", "")} - {""}:
        text = text.replace(secret, "***")
    return text


def _break_off(connection: psycopg.Connection[Any]) -> None:
    """Shut the socket down: to close it would free what the waiting thread still uses."""
    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)
