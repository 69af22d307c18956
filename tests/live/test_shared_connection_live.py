"""C001 before any crash: MySQLdb against a real server, one cursor for all threads, and the healthy ways."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages, version_of
from tests.support.processes import running, state, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.postgres import PostgreSQL
    from tests.support.processes import Program
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live

THREADS = 4
PINS = {
    "pymysql": "PyMySQL==1.1.1",
    "connector": "mysql-connector-python==8.4.0",
    "connector-c": "mysql-connector-python==8.4.0",
    "psycopg": "psycopg[binary]==3.2.3",
    "psycopg2": "psycopg2-binary==2.9.9",
}
OLD_PINS = {"pymysql": "PyMySQL==0.9.3", "psycopg2": "psycopg2-binary==2.8.6"}  # the last ones for 2.7


def client(python: str) -> Path:
    """MySQLdb for an interpreter."""
    return packages(python, "mysqlclient==1.4.6" if version_of(python) == "2.7" else "mysqlclient==2.2.4")


def connections(database: MariaDB) -> int:
    """How many queries of the program the server is working on."""
    rows = database.execute(
        "select count(*) from information_schema.processlist where info like 'select sleep%'"
    )
    return int(rows)


@on_pythons("2.7", "3.11")
def test_threads_that_share_a_cursor_are_found_while_they_live(python: str, database: MariaDB) -> None:
    with running(python, "mysql_shared.py", "alive", database.port, path=client(python)) as program:
        wait_until(lambda: connections(database) >= 1, "a query runs")
        wait_until(lambda: len(diag("stacks", program.pid).json["stacks"]) > THREADS, "threads")
        answer = diag("stacks", program.pid)
        finding = answer.found("C001", program.pid)
        assert answer.code == 3
        assert (finding["severity"], finding["confidence"]) == ("warning", "certain")
        assert "MySQLdb" in finding["summary"]
        assert "mysql_shared.py" in finding["culprit"]["where"]["file"]
        assert finding["resource"]["kind"] == "db-connection"
        assert len(finding["victims"]) >= 2
        words = [thread["waits_for"]["words"] for thread in answer.json["stacks"]]
        assert any(f"recv from 127.0.0.1:{database.port}" in text and "mariadbd" in text for text in words)
        assert state(program.pid) in "SR"


@on_pythons("2.7", "3.11")
@pytest.mark.parametrize(("way", "queries"), [("own", THREADS), ("pool", 1)])
def test_healthy_use_is_silent(python: str, database: MariaDB, way: str, queries: int) -> None:
    with running(python, "mysql_shared.py", way, database.port, path=client(python)) as program:
        wait_until(lambda: connections(database) >= queries, f"{queries} queries run")
        answer = diag("stacks", program.pid)
        assert (answer.code, answer.json["findings"], answer.json["gaps"]) == (0, [], []), answer


@contextmanager
def clients(
    request: pytest.FixtureRequest, python: str, driver: str, mode: str
) -> Iterator[tuple[Program, Callable[[], int]]]:
    """Run threads with one client library, and count the queries that the server works on."""
    if driver.startswith("psycopg"):
        postgres: PostgreSQL = request.getfixturevalue("postgres_shop")
        host, port = "127.0.0.1", postgres.port
        at_work = partial(_postgres_queries, postgres)
    else:
        mysql: MariaDB = request.getfixturevalue("shop")
        host, port = "127.0.0.1", mysql.port
        at_work = partial(connections, mysql)
    pins = OLD_PINS if version_of(python) == "2.7" else PINS
    path = packages(python, pins[driver])
    with running(python, "shared_clients.py", mode, driver, host, port, path=path) as program:
        yield program, at_work


def _postgres_queries(server: PostgreSQL) -> int:
    query = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'"
    return int(server.execute(query))


@pytest.mark.parametrize(
    ("python", "driver", "mode", "words"),
    [
        ("2.7", "pymysql", "connection", "PyMySQL with the same connection"),
        ("3.11", "pymysql", "cursor", "PyMySQL with the same connection"),
        ("3.11", "connector", "connection", "Connector/Python with the same connection"),
        ("3.11", "connector-c", "connection", "Connector/Python with the same connection"),
        ("2.7", "psycopg2", "cursor", "psycopg2 with the same cursor"),
        ("3.11", "psycopg2", "cursor", "psycopg2 with the same cursor"),
        ("3.11", "psycopg", "cursor", "psycopg with the same cursor"),
    ],
    indirect=["python"],
)
def test_what_a_client_lets_no_two_threads_use(
    request: pytest.FixtureRequest, python: str, driver: str, mode: str, words: str
) -> None:
    with clients(request, python, driver, mode) as (program, at_work):
        wait_until(lambda: at_work() >= 1, "a query runs")
        for _ in range(6):  # one look at a loaded machine may be torn, or come before the second thread
            answer = diag("stacks", program.pid)
            if "C001" in answer.codes and answer.found("C001")["confidence"] == "certain":
                break
        finding = answer.found("C001", program.pid)
        assert words in finding["summary"]
        assert (finding["severity"], finding["confidence"]) == ("warning", "certain")
        assert len(finding["victims"]) >= 2
        assert ("one by one" in finding["summary"]) == driver.startswith("psycopg")


@pytest.mark.parametrize(
    ("python", "driver", "mode", "queries"),
    [
        ("3.11", "pymysql", "own", 3),
        ("2.7", "pymysql", "loan", 1),
        ("3.11", "connector", "own", 3),
        ("3.11", "connector-c", "loan", 1),
        ("2.7", "psycopg2", "connection", 1),
        ("3.11", "psycopg2", "connection", 1),
        ("3.11", "psycopg2", "loan", 1),
        ("3.11", "psycopg", "connection", 1),
    ],
    indirect=["python"],
)
def test_what_a_client_allows_is_silent(
    request: pytest.FixtureRequest, python: str, driver: str, mode: str, queries: int
) -> None:
    with clients(request, python, driver, mode) as (program, at_work):
        wait_until(lambda: at_work() >= queries, f"{queries} queries run")
        wait_until(lambda: len(os.listdir(f"/proc/{program.pid}/task")) > 3, "all threads are there")
        answer = diag("stacks", program.pid)
        assert (answer.codes, answer.json["gaps"]) == ([], []), answer
