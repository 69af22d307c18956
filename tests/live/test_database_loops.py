"""Clients of databases in event loops: no thread waits, but the server's word leads to who has the lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.live.test_databases import until_found, waiting
from tests.support.interpreters import interpreter, packages
from tests.support.processes import running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.postgres import PostgreSQL
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live

PROGRAM = "async_clients.py"
PINS = {"asyncpg": ("asyncpg==0.30.0",), "aiomysql": ("aiomysql==0.2.0", "PyMySQL==1.1.1")}


def test_d002_a_task_of_aiomysql_sleeps_in_its_transaction(shop: MariaDB) -> None:
    check("aiomysql", shop.port, shop.dsn(), lambda: waiting(shop) == 1)


def test_d002_a_task_of_asyncpg_sleeps_in_its_transaction(postgres_shop: PostgreSQL) -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    check("asyncpg", postgres_shop.port, postgres_shop.dsn(), lambda: postgres_shop.execute(query) == "1")


def check(driver: str, port: int, dsn: str, one_waits: Callable[[], bool]) -> None:
    python = interpreter("3.11")
    path = packages(python, *PINS[driver])
    with running(python, PROGRAM, driver, port, "hold", path=path) as holder:
        time.sleep(0.5)
        with running(python, PROGRAM, driver, port, "wait", path=path) as waiter:
            wait_until(one_waits, "one waits for the row")
            time.sleep(0.5)
            for start in ("why", waiter.pid), ("db",):
                finding = until_found("D002", *start, dsn=dsn, pid=holder.pid).found("D002", holder.pid)
                assert "is idle: epoll" in finding["summary"], finding["summary"]
