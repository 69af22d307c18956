"""Database servers that cannot be asked: a gap with what lifts it, never a hang, never a password."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.locked import ROOT
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.cli import Answer
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live


def only_gap(answer: Answer) -> dict[str, str]:
    assert answer.code == 4, answer
    assert "geheim" not in answer.stdout + answer.stderr
    assert len(answer.json["gaps"]) == 1, answer
    gap: dict[str, str] = answer.json["gaps"][0]
    return gap


def test_a_wrong_password(shop: MariaDB) -> None:
    gap = only_gap(diag("db", shop.dsn("diag:geheimnis")))
    assert "Access denied" in gap["reason"]
    assert "DIAG_DSN" in gap["hint"]


def test_a_login_without_the_privilege_gets_the_exact_grant(shop: MariaDB) -> None:
    gap = only_gap(diag("db", shop.dsn("blind:geheim")))
    assert gap["hint"] == "GRANT PROCESS ON *.* TO 'blind'@'127.0.0.1';"
    shop.execute(gap["hint"])
    try:
        assert diag("db", shop.dsn("blind:geheim")).code == 0
    finally:
        shop.execute("revoke process on *.* from 'blind'@'127.0.0.1'")


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gap = only_gap(diag("db", f"mysql://diag:geheim@127.0.0.1:{probe.getsockname()[1]}/"))
    assert "refused" in gap["reason"]


def test_a_server_that_says_nothing_is_left_alone_in_time(silent: int) -> None:
    started = time.monotonic()
    gap = only_gap(diag("db", f"mysql://diag:geheim@127.0.0.1:{silent}/"))
    assert time.monotonic() - started < 15
    assert "timed out" in gap["reason"] or "no answer" in gap["reason"]
    assert "diag stacks PID" in gap["hint"]


@pytest.fixture(params=["drip", "noise", "http"])
def odd(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where something else than a database answers: a byte at a time, noise, or words."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), ExitStack() as stack:
            while True:
                peer = stack.enter_context(listener.accept()[0])
                if request.param == "noise":
                    peer.sendall(os.urandom(4096))
                elif request.param == "http":
                    peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                else:
                    for byte in b"\x4a\x00\x00\x00\x0a10.11.6-MariaDB" * 20:
                        peer.sendall(bytes([byte]))
                        time.sleep(0.3)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def test_a_port_where_no_database_answers(odd: int) -> None:
    started = time.monotonic()
    only_gap(diag("db", f"mysql://diag:geheim@127.0.0.1:{odd}/"))
    assert time.monotonic() - started < 20


def test_all_connections_are_taken(shop: MariaDB) -> None:
    shop.execute("alter user diag@'127.0.0.1' with max_user_connections 1")
    try:
        client = ["mariadb", "--no-defaults", "-udiag", "-pgeheim", "-h127.0.0.1", f"-P{shop.port}"]
        with subprocess.Popen([*client, "-e", "select sleep(30)"], stdout=subprocess.DEVNULL) as other:
            try:
                deadline = time.monotonic() + 20
                while not shop.execute("select id from information_schema.processlist where user = 'diag'"):
                    assert time.monotonic() < deadline
                gap = only_gap(diag("db", shop.dsn()))
            finally:
                other.kill()
        assert "max_user_connections" in gap["reason"]
        assert "no more connections" in gap["hint"]
    finally:
        shop.execute("alter user diag@'127.0.0.1' with max_user_connections 0")


def test_without_the_client_library_a_gap_says_what_to_install(shop: MariaDB, tmp_path: Path) -> None:
    (tmp_path / "pymysql.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    gap = only_gap(diag("db", shop.dsn(), env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}))
    assert gap["hint"] == "pip install 'diag[mysql]'"


def test_the_password_is_soon_gone_from_the_process_list(silent: int) -> None:
    argv = [sys.executable, "-m", "diag", "db", f"mysql://diag:geheim@127.0.0.1:{silent}/"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as program:
        try:
            line = Path(f"/proc/{program.pid}/cmdline")

            def masked() -> bool:
                """Whether the whole line is written anew; while a program starts it is empty (fs/exec.c)."""
                assert program.poll() is None
                text = line.read_bytes()
                return b"mysql://diag@127.0.0.1" in text and b"geheim" not in text

            wait_until(masked, "the password is overwritten")
        finally:
            program.kill()


def test_logins_from_a_private_file_the_environment_and_mysqls_own_file(
    shop: MariaDB, tmp_path: Path
) -> None:
    file = tmp_path / "databases"
    file.write_text(f"# ours\n{shop.dsn()}\n", encoding="utf-8")
    file.chmod(0o644)
    refused = diag("db", "--dsn-file", file)
    assert (refused.code, "chmod 600" in refused.stderr) == (1, True)
    file.chmod(0o600)
    assert diag("db", "--dsn-file", file).code == 0
    assert diag("db", env={"DIAG_DSN": shop.dsn(unix=True)}).code == 0
    own = tmp_path / "my.cnf"
    own.write_text(f"[client]\nuser=diag\npassword=geheim\nsocket={shop.socket}\n", encoding="utf-8")
    answer = diag("db", "--mysql-defaults-file", own)
    assert answer.code == 0, answer
    assert answer.json["db"][0]["product"] == "MariaDB"


@pytest.mark.parametrize(
    "dsn", ["oracle://scott:geheim@x/", "mysql://a:geheim@b:port/", "geheim", "mysql://[geheim"]
)
def test_a_dsn_that_is_none_is_a_usage_error_that_repeats_no_password(dsn: str) -> None:
    answer = diag("db", dsn, form="terminal")
    assert answer.code == 2
    assert "hint:" in answer.stderr
    assert "geheim" not in answer.stderr + answer.stdout


def test_no_server_at_all_is_a_usage_error() -> None:
    answer = diag("db", form="terminal", env={"HOME": "/nonexistent"})
    assert (answer.code, "hint: diag db mysql://" in answer.stderr) == (2, True)
