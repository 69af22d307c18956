"""A real PostgreSQL, private to one test session: own files, own socket, own port, own process."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from tests.support.cli import NOBODY
from tests.support.processes import started, wait_until
from tests.support.require import need_tool, require

if TYPE_CHECKING:
    from collections.abc import Iterator


class PostgreSQL(NamedTuple):
    """A running server; user ``admin`` may do everything, over the UNIX socket without a password."""

    pid: int
    directory: str  # of its socket
    port: int

    def dsn(self, user: str = "diag:geheim", *, unix: bool = False) -> str:
        """Return a DSN of this server, over TCP or its UNIX socket."""
        if unix:
            return f"postgresql://{user}@/shop?host={self.directory}&port={self.port}"
        return f"postgresql://{user}@127.0.0.1:{self.port}/shop"

    def execute(self, *statements: str, database: str = "shop") -> str:
        """Run SQL as the administrator and return the first value of the last statement, or nothing."""
        with psycopg.connect(
            host=self.directory, port=self.port, user="admin", dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return "" if row is None else str(row[0])


_ACCESS = """local all admin trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run Debian's PostgreSQL on a private data directory, socket and loopback port."""
    server = _binary("postgres")
    # It refuses to run as root.
    user = (
        [need_tool("setpriv", "util-linux"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if os.geteuid() == 0
        else []
    )
    # In /tmp, not in pytest's directory: the path of a UNIX socket holds at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="diag-pg-"))
    if user:
        os.chown(home, NOBODY, NOBODY)
    home.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        made = subprocess.run(
            [
                *user,
                _binary("initdb"),
                f"--pgdata={home}/data",
                "--username=admin",
                "--no-sync",
                "--locale=C",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
        )
        require(made.returncode == 0, f"initdb failed: {made.stderr[-300:]}")
        (home / "data" / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        settings = (
            f"port={port}", f"unix_socket_directories={home}", "listen_addresses=127.0.0.1", "fsync=off",
            "shared_buffers=8MB", "max_connections=60", "max_prepared_transactions=4", "autovacuum=off",
            "deadlock_timeout=1s", "password_encryption=scram-sha-256",
        )  # fmt: skip
        options = [word for setting in settings for word in ("-c", setting)]
        with started([*user, server, "-D", f"{home}/data", *options]) as (process, errors):
            running = PostgreSQL(process.pid, str(home), port)

            def answers() -> bool:
                if process.poll() is not None:
                    errors.seek(0)
                    raise AssertionError(f"postgres died early:\n{errors.read()[-3000:]}")
                try:
                    return running.execute("select 1", database="postgres") == "1"
                except psycopg.OperationalError:
                    return False

            wait_until(answers, "PostgreSQL accepts connections", timeout=60)
            try:
                yield running
            finally:  # killed, it would leave a segment of shared memory
                process.send_signal(signal.SIGQUIT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _binary(name: str) -> str:
    """Find a program of the server in PATH, or where Debian puts it: one directory a version."""
    places = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    require(found, f"needs {name}: apt-get install postgresql")
    assert found
    # Links into a version's directory: the server looks for its files beside itself.
    return os.path.realpath(found)
