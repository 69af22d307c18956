"""A lock on a whole MariaDB server: who waits for it, and who has it, where anything lists that."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.live.test_databases import client, until_found
from tests.support.cli import diag
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live


@contextmanager
def read_lock(server: MariaDB) -> Iterator[str]:
    """Keep the whole server from being changed, and yield the number of the session that does."""
    argv = ["mariadb", "--no-defaults", "-uroot", f"-S{server.socket}", "--unbuffered"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as admin:
        assert admin.stdin
        assert admin.stdout
        try:
            admin.stdin.write("flush tables with read lock; select connection_id();\n")
            admin.stdin.flush()
            yield [admin.stdout.readline() for _ in range(2)][1].strip()
        finally:
            admin.kill()


def one_wants_the_server(server: MariaDB) -> bool:
    query = "select count(*) from information_schema.processlist where state like '%backup lock'"
    return server.execute(query).strip() == "1"


def test_a_lock_on_the_whole_server_is_a_gap_where_nothing_lists_who_has_it(shop: MariaDB) -> None:
    with read_lock(shop) as session, client("pymysql", "wait", shop.port) as waiter:
        wait_until(lambda: one_wants_the_server(shop), "one waits")
        answer = diag("why", waiter.pid, "--dsn", shop.dsn())
        assert answer.code == 4, answer
        (gap,) = [gap for gap in answer.json["gaps"] if "backup lock" in gap["hides"]]
        assert "metadata_lock_info" in gap["hint"]
        assert f"{session} (root)" in gap["hint"]


def test_d002_a_lock_on_the_whole_server_that_a_plugin_lists(shop: MariaDB) -> None:
    shop.execute("install soname 'metadata_lock_info'")
    try:
        with read_lock(shop) as session, client("pymysql", "wait", shop.port) as waiter:
            wait_until(lambda: one_wants_the_server(shop), "one waits")
            time.sleep(0.5)
            finding = until_found("D002", "why", waiter.pid, dsn=shop.dsn()).found("D002")
            assert f"session {session} (root)" in finding["summary"]
            assert "lock on the whole server" in finding["summary"]
            assert [victim["pid"] for victim in finding["victims"]] == [waiter.pid]
    finally:
        shop.execute("uninstall soname 'metadata_lock_info'")
