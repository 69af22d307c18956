"""Servers that break off, hang or restart while diag asks them, that are full, and that want TLS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.live.test_database_faults import only_gap
from tests.live.test_databases import client, waiting
from tests.support.certificates import self_signed
from tests.support.cli import diag
from tests.support.locked import ROOT
from tests.support.processes import wait_until
from tests.support.relay import relay
from tests.support.servers import mariadb

if TYPE_CHECKING:
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live

IN_TIME = 45  # seconds, for all questions to one server on a loaded machine


@pytest.mark.parametrize("hangs", [False, True], ids=["cut", "hang"])
@pytest.mark.parametrize("answers", [1, 9])
def test_a_server_that_is_gone_after_some_answers(shop: MariaDB, answers: int, hangs: bool) -> None:
    with relay(shop.port, answers=answers, hangs=hangs) as port:
        begun = time.monotonic()
        gap = only_gap(diag("db", shop.dsn().replace(f":{shop.port}/", f":{port}/")))
        assert time.monotonic() - begun < IN_TIME
    assert "Lost connection" in gap["reason"] or "timed out" in gap["reason"], gap
    assert gap["hint"]


def test_a_server_that_restarts_between_two_looks_is_no_clean_bill(shop: MariaDB) -> None:
    with (
        client("pymysql", "sleep", shop.port),
        client("pymysql", "wait", shop.port),
        relay(shop.port, calls=1) as port,
    ):
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        gap = only_gap(diag("db", shop.dsn().replace(f":{shop.port}/", f":{port}/")))
    assert "refused" in gap["reason"]


def test_a_server_that_is_stopped_is_left_alone_in_time(shop: MariaDB) -> None:
    os.kill(shop.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        gap = only_gap(diag("db", shop.dsn()))
        assert time.monotonic() - begun < IN_TIME
        assert "diag stacks PID" in gap["hint"]
    finally:
        os.kill(shop.pid, signal.SIGCONT)


def test_a_full_server(shop: MariaDB) -> None:
    shop.execute("set global max_connections = 10")
    try:
        with ExitStack() as stack:
            _fill(stack, shop.port)
            gap = only_gap(diag("db", shop.dsn()))
        assert "Too many connections" in gap["reason"]
        assert "CONNECTION ADMIN" in gap["hint"]
    finally:
        shop.execute("set global max_connections = 151")


def _fill(stack: ExitStack, port: int) -> None:
    with suppress(pymysql.err.OperationalError):
        while True:
            stack.enter_context(pymysql.connect(host="127.0.0.1", port=port, user="app", password="apppw"))


def test_a_login_with_tls(tmp_path: Path) -> None:
    """With the server's certificate checked against its authority, and without."""
    certificate, key = self_signed(tmp_path)
    with mariadb(f"--ssl-cert={certificate}", f"--ssl-key={key}", f"--ssl-ca={certificate}") as server:
        server.execute(
            "create user diag@'127.0.0.1' identified by 'geheim' require ssl;"
            "grant process on *.* to diag@'127.0.0.1'"
        )
        for option in ("ssl=1", f"ssl_ca={certificate}"):
            answer = diag("db", f"{server.dsn()}?{option}")
            assert (answer.code, answer.json["gaps"]) == (0, []), answer
        (other := tmp_path / "other").mkdir()
        gap = only_gap(diag("db", f"{server.dsn()}?ssl_ca={self_signed(other)[0]}"))
        assert "certificate verify failed" in gap["reason"]


def test_a_user_that_must_come_with_tls_to_a_server_without(shop: MariaDB) -> None:
    shop.execute("alter user diag@'127.0.0.1' require ssl")
    try:
        assert "?ssl=1" in only_gap(diag("db", shop.dsn()))["hint"]
        assert "TLS" in only_gap(diag("db", f"{shop.dsn()}?ssl=1"))["hint"]
        missing = only_gap(diag("db", f"{shop.dsn()}?ssl_ca=/nonexistent/ca.pem"))
        assert "No such file" in missing["reason"]
    finally:
        shop.execute("alter user diag@'127.0.0.1' require none")


def test_a_server_without_the_tables_of_others_is_asked_all_the_same(shop: MariaDB) -> None:
    """MariaDB has no performance_schema.data_lock_waits, and here performance_schema is off: no gap."""
    assert shop.execute("select @@performance_schema").strip() == "0"
    assert (diag("db", shop.dsn()).code, diag("db", shop.dsn()).json["gaps"]) == (0, [])


@pytest.mark.parametrize("way", ["argument", "environment", "file"])
def test_no_password_is_left_in_any_process_of_a_run(silent: int, tmp_path: Path, way: str) -> None:
    """While diag waits for a silent server: neither it nor its children show the password to others."""
    dsn = f"mysql://diag:geheim@127.0.0.1:{silent}/"
    file = tmp_path / "databases"
    file.write_text(dsn, encoding="utf-8")
    file.chmod(0o600)
    words = {"argument": [dsn], "environment": [], "file": ["--dsn-file", str(file)]}[way]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **({"DIAG_DSN": dsn} if way == "environment" else {})}
    argv = [sys.executable, "-m", "diag", "db", *words]
    with subprocess.Popen(argv, env=env, cwd="/", stdout=subprocess.DEVNULL) as program:
        try:
            wait_until(lambda: _asks(program.pid, silent), "diag asks the server")
            for pid in (program.pid, *_children(program.pid)):
                assert b"geheim" not in Path(f"/proc/{pid}/cmdline").read_bytes()
                if pid != program.pid:
                    assert b"geheim" not in Path(f"/proc/{pid}/environ").read_bytes()
        finally:
            program.kill()


def _asks(pid: int, port: int) -> bool:
    wanted = f":{port:04X} 01"
    sockets = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    rows = [row for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines() if wanted in row]
    return any(f"socket:[{row.split()[9]}]" in sockets for row in rows)


def _children(pid: int) -> list[int]:
    tids = os.listdir(f"/proc/{pid}/task")
    text = " ".join(Path(f"/proc/{pid}/task/{tid}/children").read_text() for tid in tids)
    return [int(number) for number in re.findall(r"\d+", text)]
