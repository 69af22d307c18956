"""Programs that really crash, and a real rsyslogd that writes down what the kernel says of it."""

from __future__ import annotations

import os
import platform
import secrets
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.support.processes import PROGRAMS, started
from tests.support.require import need_root, need_tool, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBRARY = "libfaults.so.1"


class Crasher(NamedTuple):
    """A compiled ``crash.c`` in a directory of its own."""

    home: Path

    def die(self, how: str, *where: str, name: str | None = None) -> str:
        """Run it to its death under a name nobody else has, and return that name."""
        name = name or f"crash{secrets.token_hex(5)}"
        program = self.home / name
        if not program.exists():
            shutil.copy(self.home / "crash", program)
        done = subprocess.run(
            [program, how, *where],
            capture_output=True,
            env={**os.environ, "LD_LIBRARY_PATH": str(self.home)},
            check=False,
            timeout=30,
        )
        assert done.returncode < 0, f"{how} survived: {done}"
        return name


def build(home: Path, library: str = LIBRARY) -> Crasher:
    """Compile the program and its library."""
    need_root()  # the kernel's words are root's to read
    require(platform.machine() == "x86_64", "needs x86-64: the faults are x86 faults")
    require(_shown(), "needs debug.exception-trace=1: sysctl debug.exception-trace=1")
    compiler = need_tool("gcc")
    source = str(PROGRAMS / "crash.c")
    common = [compiler, "-g", "-O0", "-fno-stack-protector", source]
    subprocess.run([*common, "-DLIBRARY", "-shared", "-fPIC", "-o", home / library], check=True)
    subprocess.run([*common, "-o", home / "crash", home / library, "-pthread"], check=True)
    return Crasher(home)


def whole(home: Path, *options: str, strip: bool = False) -> Crasher:
    """Compile the same faults into one program, with these options of gcc."""
    build(home)  # for what it needs
    source = str(PROGRAMS / "crash.c")
    command = ["gcc", "-DBOTH", "-O0", "-fno-stack-protector", *options, source, "-o", str(home / "crash")]
    subprocess.run([*command, "-pthread"], check=True)
    if strip:
        subprocess.run([need_tool("strip", "binutils"), home / "crash"], check=True)
    return Crasher(home)


def _shown() -> bool:
    with open("/proc/sys/debug/exception-trace", encoding="ascii") as setting:
        return setting.read().strip() == "1"


@contextmanager
def rsyslog(home: Path) -> Iterator[Path]:
    """Run rsyslogd with its kernel log input on a file of its own; yield the messages file.

    The kernel gives each message of /proc/kmsg to one reader only: a test that waits for its own
    crash must crash again until it has come.
    """
    need_root()
    server = need_tool("rsyslogd", "rsyslog")
    messages = home / "messages"
    config = home / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{home}")\n'
        'module(load="imklog")\n'
        f'action(type="omfile" file="{messages}" template="RSYSLOG_TraditionalFileFormat")\n'
    )
    messages.touch()  # rsyslogd makes it with the first message only
    with started([server, "-n", "-iNONE", "-f", str(config)]) as (process, _):
        yield messages
        assert process.poll() is None, "rsyslogd has ended"
