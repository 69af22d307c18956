"""Fixtures that every test may use. What they stand on is in tests/support."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.interpreters import interpreter, newest
from tests.support.postgres import postgresql
from tests.support.processes import wait_until
from tests.support.servers import mariadb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgreSQL
    from tests.support.servers import MariaDB


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what ``make check`` leaves out: all of tests/live, and whatever hypothesis feeds.

    What looks at real processes on a loaded machine is tried again in CI; the summary names each such test.
    """
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.live)
            if os.environ.get("CI"):
                item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=2))
        if hasattr(getattr(item, "obj", None), "hypothesis"):
            item.add_marker(pytest.mark.hostile)


@pytest.fixture
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter of the program under test; the newest unless ``on_pythons`` says more."""
    return interpreter(getattr(request, "param", newest()))


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may enter and write to; pytest's own are for their user alone."""
    directory = Path(tempfile.mkdtemp(prefix="diag-test-"))
    os.chmod(directory, 0o1777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def database() -> Iterator[MariaDB]:
    """A MariaDB of this test process alone."""
    with mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def shop_server(database: MariaDB) -> MariaDB:
    """The server with a table of balances, a login for programs, and one for diag with the least rights."""
    logins = "".join(
        f"create user app@'{place}' identified by 'apppw'; grant all on shop.* to app@'{place}';"
        f"create user diag@'{place}' identified by 'geheim'; grant process on *.* to diag@'{place}';"
        f"create user blind@'{place}' identified by 'geheim';"
        for place in ("127.0.0.1", "localhost")
    )
    database.execute(f"create database shop; {logins}")
    return database


@pytest.fixture
def shop(shop_server: MariaDB) -> MariaDB:
    """The same with its table as new: whoever had it locked is gone."""
    shop_server.execute(
        "create or replace table shop.user (id int primary key, balance int) engine=innodb;"
        "insert into shop.user values (1, 1000), (2, 1000)"
    )
    return shop_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of this test process, with a login for programs, for diag, and one without rights."""
    with postgresql() as found:
        found.execute(
            "create role app login password 'apppw'", "create database shop owner app", database="postgres"
        )
        found.execute(
            "create role diag login password 'geheim'",
            "grant pg_read_all_stats to diag",
            "create role blind login password 'geheim'",
        )
        yield found


@pytest.fixture
def postgres_shop(postgres_server: PostgreSQL) -> PostgreSQL:
    """The same with its table as new: whoever had it locked is gone."""
    server = postgres_server
    server.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
    wait_until(
        lambda: server.execute("select count(*) from pg_stat_activity where usename = 'app'") == "0",
        "earlier clients are gone",
    )
    server.execute(
        "drop table if exists account",
        "create table account (id int primary key, balance int)",
        "alter table account owner to app",
        "insert into account values (1, 1000), (2, 1000)",
    )
    return server


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a service that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in taken:
            each.close()
