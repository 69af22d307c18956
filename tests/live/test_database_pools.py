"""Saturated pools in front of a real MariaDB, and what only looks like one."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.live.test_databases import client, program_line, until_found, waiting
from tests.support.cli import diag
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("driver", "unix"), [("pymysql", False), ("MySQLdb", True)])
def test_d001_a_commit_is_queued_behind_the_updates_of_its_own_pool(
    shop: MariaDB, driver: str, unix: bool
) -> None:
    address = shop.socket if unix else shop.port
    with client(driver, "pool", address, 4, 30) as program:
        wait_until(lambda: waiting(shop) == 4, "the pool is full of UPDATEs")
        time.sleep(1)
        answer = until_found("D001", "why", program.pid, dsn=shop.dsn(unix=unix), pid=program.pid)
        finding = answer.found("D001", program.pid)
        assert answer.code == 3
        assert (finding["severity"], finding["confidence"]) == ("critical", "certain"), answer
        assert "all 4 workers" in finding["summary"]
        assert "session" in finding["summary"]
        assert "transaction" in finding["summary"]
        assert "request" in program_line(finding)
        assert answer.codes == ["D001"], answer
        sources = {item["source"] for item in finding["evidence"]}
        assert "information_schema.innodb_lock_waits" in sources
        # Literals are masked: the balance and the id of a customer are nobody's business.
        assert "id = 1" not in json.dumps(answer.json["findings"])


@pytest.mark.parametrize(
    ("driver", "unix", "more"),
    [("pymysql", False, ()), ("MySQLdb", True, ("event",)), ("pymysql", False, ("queue", "beside"))],
    ids=["queue", "event", "beside"],
)
def test_d001_a_pool_that_is_no_executor(
    shop: MariaDB, driver: str, unix: bool, more: tuple[str, ...]
) -> None:
    address = shop.socket if unix else shop.port
    with client(driver, "homemade", address, 4, 30, *more) as program:
        wait_until(lambda: waiting(shop) == 4, "the pool is full of UPDATEs")
        time.sleep(1)
        answer = until_found("D001", "db", dsn=shop.dsn(unix=unix), pid=program.pid)
        finding = answer.found("D001", program.pid)
        assert finding["confidence"] == "likely"
        assert "all 4 workers" in finding["summary"]
        assert any("metrics" in line for line in finding["against"]) is ("beside" in more)
        assert not {"D002", "D003"} & set(answer.codes)


def test_d001_an_executor_behind_an_event_loop(shop: MariaDB) -> None:
    with client("pymysql", "loop", shop.port, 4, 20) as program:
        wait_until(lambda: waiting(shop) == 4, "the pool is full of UPDATEs")
        time.sleep(1)
        finding = until_found("D001", "why", program.pid, dsn=shop.dsn()).found("D001", program.pid)
        assert finding["confidence"] == "likely"
        assert "all 4 workers" in finding["summary"]
        assert "task " in finding["summary"]
        assert finding["culprit"]["where"]["function"].endswith("request"), finding["culprit"]


@pytest.mark.parametrize(
    ("case", "blocked", "words"),
    [("free", 3, "thread audit"), ("outside", 3, "thread audit"), ("apart", 3, "waits for")],
)
def test_what_looks_like_a_full_pool_and_is_a_transaction_left_open(
    shop: MariaDB, case: str, blocked: int, words: str
) -> None:
    with client("pymysql", case, shop.port) as program:
        wait_until(lambda: waiting(shop) == blocked, "the workers wait for the row")
        time.sleep(1)
        answer = until_found("D002", "why", program.pid, dsn=shop.dsn(), pid=program.pid)
        assert "D001" not in answer.codes, answer
        assert words in answer.found("D002", program.pid)["summary"]


def test_a_full_pool_whose_row_is_free_again_soon_is_healthy(shop: MariaDB) -> None:
    with client("pymysql", "next", shop.port) as program:
        wait_until(lambda: waiting(shop) >= 2, "the workers wait for the row")
        for start in ("why", program.pid), ("db",):
            answer = diag(*start, "--dsn", shop.dsn())
            assert (answer.code, answer.codes) == (0, []), answer


def test_processes_of_a_pool_want_the_row_of_the_one_that_waits_for_them(shop: MariaDB) -> None:
    with client("pymysql", "processes", shop.port) as program:
        wait_until(lambda: waiting(shop) == 3, "the workers wait for the row")
        time.sleep(0.5)
        finding = until_found("D003", "why", program.pid, dsn=shop.dsn()).found("D003")
        assert program.pid in {finding["culprit"]["pid"], *(victim["pid"] for victim in finding["victims"])}
        kinds = {link["waits_for"]["kind"] for link in finding["chain"]}
        assert kinds in ({"database-lock", "queued-work"}, {"database-lock", "future"})


def test_scan_finds_a_saturated_pool_among_the_processes_of_the_host(shop: MariaDB) -> None:
    with client("pymysql", "pool", shop.port, 4, 30) as program:
        wait_until(lambda: waiting(shop) == 4, "the pool is full of UPDATEs")
        time.sleep(1)
        for _ in range(3):
            answer = diag("scan", "--dsn", shop.dsn(), timeout=150)
            if any(finding["code"] == "D001" for finding in answer.json["findings"]):
                break
        assert "all 4 workers" in answer.found("D001", program.pid)["summary"]
        assert "geheim" not in answer.stdout + answer.stderr


def test_d001_a_proxy_whose_executor_is_full(shop: MariaDB) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(client("pymysql", "proxy", shop.port, 4))
        users = stack.enter_context(client("pymysql", "clients", proxy.said["port"], 30))
        wait_until(lambda: waiting(shop) == 4, "the executor is full of UPDATEs")
        time.sleep(1)
        for start in ("why", proxy.pid), ("db",):
            answer = until_found("D001", *start, dsn=shop.dsn())
            assert answer.codes == ["D001"], answer
            finding = answer.found("D001")
            assert finding["confidence"] == "likely"
            assert finding["culprit"]["pid"] == users.pid
            assert f"pid {proxy.pid}" in finding["summary"]
            assert "commit" in finding["summary"]
            assert "request" in program_line(finding)


def test_d002_through_a_proxy_whose_client_sleeps_is_no_saturated_pool(shop: MariaDB) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(client("pymysql", "proxy", shop.port, 2))
        stack.enter_context(client("pymysql", "sleep", proxy.said["port"]))
        for _ in range(2):
            stack.enter_context(client("pymysql", "wait", proxy.said["port"]))
        wait_until(lambda: waiting(shop) == 2, "both workers wait")
        time.sleep(1)
        answer = until_found("D002", "db", dsn=shop.dsn())
        assert "D001" not in answer.codes
        assert answer.found("D002")["culprit"]["pid"] == proxy.pid
