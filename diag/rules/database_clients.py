"""Database client libraries for Python, and what of theirs several threads may share."""

from __future__ import annotations

import re
from typing import NamedTuple


class Client(NamedTuple):
    """One client library."""

    name: str
    packages: tuple[str, ...]  # directories its Python files lie in
    modules: tuple[str, ...]  # prefixes of its C types' names
    shares: int  # DB-API 2.0 (PEP 249) threadsafety: 1 the module, 2 connections, 3 cursors too
    locks: bool = True  # whether it may take locks of its own, which keep a second thread out


CLIENTS = (
    Client("MySQLdb", ("MySQLdb",), ("_mysql", "MySQLdb"), 1),
    Client("PyMySQL", ("pymysql",), (), 1, locks=False),
    Client("MySQL Connector/Python", ("mysql/connector",), ("_mysql_connector",), 1),
    Client("MariaDB Connector/Python", ("mariadb",), ("mariadb",), 1),
    Client("cymysql", ("cymysql",), (), 1, locks=False),
    Client("pg8000", ("pg8000",), (), 1),
    Client("PyGreSQL", ("pgdb",), ("pg", "pgdb"), 1),
    Client("pymssql", ("pymssql",), ("pymssql", "_mssql", "src.pymssql"), 1),
    Client("python-tds", ("pytds",), (), 1),
    Client("pyodbc", (), ("pyodbc",), 1),
    Client("turbodbc", ("turbodbc",), (), 1),
    Client("firebird", ("firebird/driver", "fdb"), (), 1),
    Client("ibm_db", ("ibm_db_dbi",), ("ibm_db",), 1),
    Client("SAP HANA client", ("hdbcli",), ("pyhdbcli",), 1),
    Client("clickhouse-driver", ("clickhouse_driver",), (), 1),
    Client("Vertica", ("vertica_python",), (), 1),
    # These lock for themselves, connection by connection.
    Client("psycopg2", ("psycopg2",), ("psycopg2",), 2),
    Client("psycopg", ("psycopg",), ("psycopg",), 2),
    Client("oracledb", ("oracledb",), ("oracledb", "cx_Oracle"), 2),
    Client("sqlite3", ("sqlite3",), ("sqlite3", "_sqlite3", "pysqlite2"), 3),
)

_FILES = tuple(
    (re.compile(rf"(?:^|/){re.escape(package)}(?:/|\.py$)"), client)
    for client in CLIENTS
    for package in client.packages
)
# Of classes that stand for one session; pools of them are made to be shared.
_CONNECTION = re.compile(r"(?:^|_)conn(?:ection)?$|connection$|connectionabstract$", re.IGNORECASE)
_CURSOR = re.compile(r"cursor", re.IGNORECASE)
_NOT_ONE = re.compile(r"pool|proxy|queue|mixin|manager|factory", re.IGNORECASE)


def client_of_file(file: str) -> Client | None:
    """Tell which client a frame's file belongs to."""
    return next((client for pattern, client in _FILES if pattern.search(file)), None)


def client_of_type(type_name: str) -> Client | None:
    """Tell which client a C type belongs to: ``pyodbc.Cursor``; Python classes show no module."""
    module = type_name.rpartition(".")[0]
    return next(
        (
            client
            for client in CLIENTS
            for prefix in client.modules
            if module == prefix or module.startswith(f"{prefix}.")
        ),
        None,
    )


def handle_kind(type_name: str) -> str | None:
    """Tell whether a type is a ``connection`` or a ``cursor`` by its name; None for all else."""
    name = type_name.rpartition(".")[2]
    if _NOT_ONE.search(name):
        return None
    if _CURSOR.search(name):
        return "cursor"
    return "connection" if _CONNECTION.search(name) else None
