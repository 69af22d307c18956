"""Asks MySQL and MariaDB servers, with PyMySQL."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CR, ER

from diag.host.drivers import CONNECT, MOST_ROWS, STATEMENT
from diag.host.records import Answers, Cell, Problem, Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diag.host.dsn import Dsn

_SETTINGS = (
    "set session transaction read only",
    "set session lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    f"set session max_statement_time = {STATEMENT:g}",  # MariaDB, seconds
    f"set session max_execution_time = {STATEMENT * 1000:.0f}",  # MySQL, milliseconds
)
"""Each may fail alone: no server knows all of them."""

_KINDS = {
    ER.ACCESS_DENIED_ERROR: "denied",
    ER.DBACCESS_DENIED_ERROR: "denied",
    ER.HOST_NOT_PRIVILEGED: "denied",
    ER.HOST_IS_BLOCKED: "denied",
    ER.TABLEACCESS_DENIED_ERROR: "privilege",
    ER.SPECIFIC_ACCESS_DENIED_ERROR: "privilege",
    ER.CON_COUNT_ERROR: "limit",
    ER.USER_LIMIT_REACHED: "limit",
    1203: "limit",  # ER_TOO_MANY_USER_CONNECTIONS
    3159: "tls",  # ER_SECURE_TRANSPORT_REQUIRED, MySQL
    4160: "tls",  # the same, MariaDB from 10.5.2 on
    1109: "missing",  # ER_UNKNOWN_TABLE, in information_schema
    ER.NO_SUCH_TABLE: "missing",
    ER.BAD_DB_ERROR: "missing",
    ER.BAD_FIELD_ERROR: "missing",
    CR.CR_SSL_CONNECTION_ERROR: "tls",
    ER.QUERY_INTERRUPTED: "timeout",
    1969: "timeout",  # max_statement_time exceeded, MariaDB
    3024: "timeout",  # the same, MySQL
    CR.CR_CONN_HOST_ERROR: "refused",
    CR.CR_SERVER_LOST: "lost",
    CR.CR_SERVER_GONE_ERROR: "lost",
}


class _NoClearText:
    """Refuses to send the password as it is, which a server may ask for."""

    def __init__(self, connection: object) -> None:
        del connection

    def authenticate(self, packet: object) -> None:
        """Break off."""
        del packet
        raise pymysql.err.OperationalError(0, "the server asks for the password in clear text")


def ask(dsn: Dsn, statements: Sequence[str], closing: Callable[[Callable[[], object]], None]) -> Answers:
    """Run the statements, one by one, read only. What the server says becomes a ``Problem``."""
    try:
        connection = pymysql.connections.Connection(**_arguments(dsn), defer_connect=True)
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # it reads the certificates of ssl_ca and its own file
        return Answers(problem=Problem("tls", "", _without(f"ssl_ca or defaults-file: {error}", dsn)))
    closing(lambda: _break_off(connection))
    try:
        connection.connect()
    except pymysql.err.Error as error:
        return Answers(problem=_problem(error, dsn))
    except (OSError, RuntimeError, ValueError, UnicodeError, IndexError, AssertionError) as error:
        # Not only of the network: PyMySQL trusts that it talks to a server of its kind.
        return Answers(problem=Problem("other", "", _without(str(error) or type(error).__name__, dsn)))
    try:
        for setting in _SETTINGS:
            with suppress(pymysql.err.MySQLError):
                _run(connection, setting)
        return Answers(results=tuple(_answer(connection, statement, dsn) for statement in statements))
    finally:
        with suppress(pymysql.err.Error, OSError):
            connection.close()


def _arguments(dsn: Dsn) -> dict[str, Any]:
    options: dict[str, Any] = {
        "user": dsn.user or None,
        "password": dsn.password or os.environ.get("MYSQL_PWD", ""),
        "connect_timeout": CONNECT,
        "read_timeout": STATEMENT + 1,
        "write_timeout": STATEMENT + 1,
        "autocommit": True,
        "charset": "utf8mb4",
        "program_name": "diag",
        "auth_plugin_map": {"mysql_clear_password": _NoClearText},
    }
    if dsn.host:
        options["host"] = dsn.host
    if dsn.port is not None:
        options["port"] = dsn.port
    if path := dsn.option("socket", "unix_socket"):
        options["unix_socket"] = path
    if path := dsn.option("defaults-file", "read_default_file"):
        options["read_default_file"] = path
    if authority := dsn.option("ssl_ca", "ssl-ca"):
        options.update(ssl_ca=authority, ssl_verify_identity=True)
    elif dsn.option("ssl", "tls") not in (None, "0", "false"):
        options["ssl"] = {"check_hostname": False}
    return options


def _answer(connection: Any, statement: str, dsn: Dsn) -> Rows:
    try:
        return _run(connection, statement)
    except pymysql.err.Error as error:
        return Rows(problem=_problem(error, dsn))
    except (OSError, ValueError, UnicodeError, IndexError, AssertionError) as error:
        return Rows(problem=Problem("lost", "", _without(str(error) or type(error).__name__, dsn)))


def _run(connection: Any, statement: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchmany(MOST_ROWS)
        columns = tuple(column[0].lower() for column in cursor.description or ())
    return Rows(columns=columns, rows=tuple(tuple(map(_cell, row)) for row in rows))


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, int | float | str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _problem(error: Exception, dsn: Dsn) -> Problem:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    kind = _KINDS.get(code, "other")
    if isinstance(error.__cause__, TimeoutError) or "timed out" in text:
        kind = "timeout"
    return Problem(kind, str(code or ""), _without(text, dsn))


def _without(text: str, dsn: Dsn) -> str:
    """Take the password out of a message, should one ever hold it."""
    for secret in {dsn.password, os.environ.get("MYSQL_PWD", "")} - {""}:
        text = text.replace(secret, "***")
    return text


def _break_off(connection: Any) -> None:
    with suppress(Exception):
        connection._sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001 - close() would wait for the server
