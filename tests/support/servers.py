"""Real servers, private to one test session: own files, own socket, own port, own process."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.support.processes import started, wait_until
from tests.support.require import need_root, need_tool, require

if TYPE_CHECKING:
    from collections.abc import Iterator


class MariaDB(NamedTuple):
    """A running server; user root without a password may do everything."""

    pid: int
    socket: str
    port: int

    def dsn(self, user: str = "diag:geheim", *, unix: bool = False) -> str:
        """Return a DSN of this server, over TCP or its UNIX socket."""
        return (
            f"mysql://{user}@localhost/?socket={self.socket}"
            if unix
            else f"mysql://{user}@127.0.0.1:{self.port}/"
        )

    def execute(self, sql: str) -> str:
        """Run SQL with the command line client and return its rows, tab separated."""
        client = need_tool("mariadb", "mariadb-client")
        options = ["--no-defaults", "--user=root", f"--socket={self.socket}"]
        return subprocess.run(
            [client, *options, "--batch", "--skip-column-names", "--execute", sql],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout


@contextmanager
def mariadb(*more: str) -> Iterator[MariaDB]:
    """Run Debian's MariaDB on a private data directory, socket and loopback port; ``more`` options."""
    server = need_tool("mariadbd", "mariadb-server")
    installer = need_tool("mariadb-install-db", "mariadb-server")
    # In /tmp, not in pytest's directory: the path of a UNIX socket holds at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="diag-db-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Two servers that make temporary tables in /tmp at once give them the same names.
    (home / "tmp").mkdir()
    common = [
        "--no-defaults",
        f"--datadir={home}/data",
        f"--tmpdir={home}/tmp",
        f"--user={getpass.getuser()}",
    ]
    small = ["--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-fast-shutdown=2"]
    try:
        made = subprocess.run(
            [
                installer, *common, "--auth-root-authentication-method=normal",
                "--skip-test-db", "--innodb-log-file-size=4M",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )  # fmt: skip
        require(made.returncode == 0, f"mariadb-install-db failed: {made.stderr[-300:]}")
        argv = [
            server, *common, *small, f"--socket={home}/sock", f"--port={port}",
            f"--pid-file={home}/pid", "--bind-address=127.0.0.1", "--skip-log-bin",
            "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-use-native-aio=0", "--log-error=/dev/stderr", *more,
        ]  # fmt: skip
        with started(argv) as (process, errors):
            running = MariaDB(process.pid, f"{home}/sock", port)

            def answers() -> bool:
                if process.poll() is not None:
                    errors.seek(0)
                    raise AssertionError(f"mariadbd died early:\n{errors.read()[-3000:]}")
                return _accepts(running.socket)

            wait_until(answers, "MariaDB accepts connections", timeout=60)
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return bool(probe.recv(1))


@contextmanager
def rsyslog(directory: Path) -> Iterator[Path]:
    """Run rsyslog with its kernel log reader and yield the messages file it writes.

    /proc/kmsg gives each line to one reader only, so nobody else may read it meanwhile.
    """
    need_root()
    server = need_tool("rsyslogd", "rsyslog")
    require(not _readers("/proc/kmsg"), "another process of this machine reads /proc/kmsg")
    messages = directory / "messages"
    config = directory / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{directory}")\n'
        'module(load="imklog" PermitNonKernelFacility="on")\n'
        "$ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat\n"
        f"*.* {messages}\n",
        encoding="utf-8",
    )
    argv = [server, "-n", "-f", str(config), "-i", str(directory / "rsyslog.pid")]
    with started(argv) as (process, errors):

        def writes() -> bool:
            if process.poll() is not None:
                errors.seek(0)
                raise AssertionError(f"rsyslogd died early:\n{errors.read()}")
            return messages.exists()

        wait_until(writes, "rsyslog writes its messages file")
        yield messages


def _readers(path: str) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            links = [os.readlink(f"/proc/{name}/fd/{fd}") for fd in os.listdir(f"/proc/{name}/fd")]
        except OSError:
            continue
        if path in links:
            found.append(int(name))
    return found
