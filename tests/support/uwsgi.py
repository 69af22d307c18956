"""The real uWSGI of the second founding incident: built once from its sources, driven until it dies."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tests.support.cores import kernel_writes
from tests.support.interpreters import interpreter, version_of
from tests.support.locked import CACHE, one_at_a_time
from tests.support.processes import PROGRAMS, started
from tests.support.require import need_tool, require

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = {"2.7": "2.0.13.1", "3.6": "2.0.17.1"}
"""The last one each with the fault that still builds under this version of Python."""

# Only what the incident needs: built in 20 s on two cores, with all plugins it takes three times as long.
_PROFILE = """[uwsgi]
inherit = base
main_plugin =
xml = false
yaml = false
json = false
ssl = false
pcre = false
routing = false
embedded_plugins = python
"""


class Death(NamedTuple):
    """What a worker left behind."""

    core: Path
    log: Path
    program: Path


def build(python: str) -> Path:
    """Build uWSGI for an interpreter, once; return the program."""
    release = RELEASES[version_of(python)]
    target = CACHE / "packages" / f"uwsgi-{release}-py{version_of(python)}"
    with one_at_a_time("packages"):
        if not target.is_dir():
            _build(python, release, target)
    return target / "uwsgi"


def _build(python: str, release: str, target: Path) -> None:
    need_tool("gcc")
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    pip = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", str(part)]
    _run([*pip, f"uwsgi=={release}"], part, "pip could not fetch uWSGI")
    with tarfile.open(next(part.glob("*.tar.gz"))) as archive:
        archive.extractall(part, filter="data")
    source = part / f"uwsgi-{release}"
    (source / "buildconf" / "small.ini").write_text(_PROFILE)
    _run([python, "uwsgiconfig.py", "--build", "small"], source, "uWSGI could not be built")
    shutil.move(source / "uwsgi", part / "uwsgi")
    shutil.rmtree(source)
    part.rename(target)


def _run(argv: list[str], directory: Path, trouble: str) -> None:
    done = subprocess.run(
        argv,
        cwd=directory,
        env={**os.environ, "CFLAGS": "-w -Wno-error", "CPUCOUNT": "2"},  # newer compilers warn of more
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-3:]
    require(done.returncode == 0, f"{trouble}: {last}")


def die(version: str, directory: Path, *, patience: float = 120) -> Death:
    """Ask a worker for spooled jobs until it dies; return its core and the log of uWSGI.

    Sometimes what was damaged makes it hang: then a new one is tried.
    """
    require(kernel_writes(), "needs cores in the directory of the process: sysctl kernel.core_pattern=core")
    program = build(interpreter(version))
    end = time.monotonic() + patience
    for attempt in range(100):
        home = directory / f"try{attempt}"
        _try(program, home, min(end, time.monotonic() + patience / 8))
        if core := _core(home):
            return Death(core, home / "log", program)
        assert time.monotonic() < end, f"uWSGI did not die: {(home / 'log').read_bytes()[-2000:]!r}"
    raise AssertionError


def _try(program: Path, home: Path, end: float) -> None:
    """Run one uWSGI in ``home`` until it is dead, hangs, or the time is over."""
    (home / "spool").mkdir(parents=True)
    options = {
        "http-socket": "sock", "spooler": "spool", "pythonpath": PROGRAMS, "module": "uwsgi_spool",
        "logto": "log", "processes": "1",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [program, "--master", "--enable-threads", "--die-on-term", *words]
    script = f"cd {shlex.quote(str(home))} && ulimit -c unlimited && exec {shlex.join(map(str, command))}"
    with started(["sh", "-c", script]) as (process, _):
        # The kernel writes the core before the parent learns of the death: then it is whole.
        while time.monotonic() < end and process.poll() is None:
            _ask(home / "sock")
            if _core(home) and b"DAMN ! worker" in (home / "log").read_bytes():
                return


def _core(home: Path) -> Path | None:
    """The core, which may have the pid in its name (kernel.core_uses_pid)."""
    return next(home.glob("core*"), None)


def _ask(place: Path) -> None:
    """Send one request; a worker that has died or hangs gives no answer."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(3)
        client.connect(os.path.relpath(place))  # such paths may have 107 bytes only (unix(7))
        client.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        client.recv(4096)
