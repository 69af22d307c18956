"""Real incidents in small, started on this machine. A new one is one program and one line here."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, NamedTuple

from diag.demos import servers
from diag.errors import DiagError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = os.path.join(os.path.dirname(__file__), "programs")

PATIENCE = 60.0
"""Seconds until an incident must be there; it takes about one, with a database server a few."""


_FAREWELL = 5.0
"""Seconds an incident may take to end by itself, before it is killed."""


class Demo(NamedTuple):
    """One incident: what happens, what to ask diag about, and what diag should find."""

    code: str
    lock: str  # the file to ask about, in the demo's directory; "": the program writes what to ask
    waiting: int  # how many are blocked in the kernel once the incident is there
    story: str
    environment: Callable[[], dict[str, str]] = dict  # of the program; raises DiagError where it can not run

    @property
    def program(self) -> str:
        """The program, named as its file."""
        return next(name for name, demo in DEMOS.items() if demo is self).replace("-", "_") + ".py"


DEMOS = {
    "self-deadlock": Demo(
        "L001",
        "app.log.lock",
        2,
        "Two workers write to one log, which rotates under a file lock. A supervisor stops them with "
        "SIGTERM, again every 0.1 s; their handler writes to the log. A newcomer tries to start.",
    ),
    "inherited-lock": Demo(
        "L003",
        "service.lock",
        1,
        "A service took its lock, started a helper that inherited the descriptor, and ended. "
        "Its successor tries to start.",
    ),
    "lock-cycle": Demo(
        "L002",
        "accounts.lock",
        2,
        "Two jobs need the same two locks and take them in opposite order.",
    ),
    "stopped-holder": Demo(
        "L004",
        "backup.lock",
        1,
        "A job was stopped (SIGSTOP) while it holds a lock, and another job waits for that lock.",
    ),
    "stale-lock": Demo(
        "L008",
        "job.pid",
        0,
        "A job locks by creating a file. It was killed, the file stayed, and the next job tries for ever.",
    ),
    "saturated-pool": Demo(
        "D001",
        "",
        0,
        "A service executes all statements in a pool of 4 threads. 12 requests update one row and commit: "
        "the COMMIT of the first queues behind the others' UPDATEs. Starts a database server of its own.",
        servers.environment,
    ),
}


class Stage(NamedTuple):
    """An incident that is there: the diag command to ask with, and who plays (role, pid)."""

    question: tuple[str, ...]
    cast: tuple[tuple[str, int], ...]
    director: subprocess.Popen[bytes]


@contextmanager
def staged(demo: Demo) -> Iterator[Stage]:
    """Start an incident, wait until it really is there, and end all of it when the block ends.

    Raises ``DiagError`` when it does not come about.
    """
    environment = demo.environment()
    directory = tempfile.mkdtemp(prefix="diag-demo-")
    with tempfile.TemporaryFile() as errors:
        director = _start(demo, directory, environment, errors)
        try:
            _wait(demo, director, directory, errors)
            yield Stage(_question(demo, directory), _cast(directory), director)
        finally:
            _end(director)
            shutil.rmtree(directory, ignore_errors=True)


def _start(
    demo: Demo, directory: str, environment: dict[str, str], errors: IO[bytes]
) -> subprocess.Popen[bytes]:
    # Its standard input is the leash: when diag dies, however, the pipe ends and the program ends all.
    return subprocess.Popen(
        [sys.executable, os.path.join(PROGRAMS, demo.program), directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            **environment,
        },
    )


def _wait(demo: Demo, director: subprocess.Popen[bytes], directory: str, errors: IO[bytes]) -> None:
    assert director.stdout
    deadline = time.monotonic() + PATIENCE
    told, _, _ = select.select([director.stdout], [], [], PATIENCE)
    ready = bool(told) and director.stdout.readline() == b"ready\n"
    while ready and _waiting(directory) < demo.waiting:
        ready = director.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    if not ready:
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
        raise DiagError(
            f"the incident did not come about: {said[-1] if said else 'no message'}",
            hint="the demo needs a writable temporary directory (TMPDIR) and room for a few processes",
        )


def _question(demo: Demo, directory: str) -> tuple[str, ...]:
    if demo.lock:
        return ("locks", os.path.join(directory, demo.lock))
    with open(os.path.join(directory, "question"), encoding="utf-8") as file:
        return tuple(file.read().split())


def _waiting(directory: str) -> int:
    """Count those of the cast that sleep in the kernel until they get a lock.

    The kernel's lock table would not do: in a pid namespace it leaves out a lock whose taker is
    gone, and all who wait for it.
    """
    return sum("lock_inode_wait" in _wchan(pid) for _, pid in _cast(directory))


def _wchan(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
            return file.read()
    except OSError:  # it has played its part and is gone
        return ""


def _cast(directory: str) -> tuple[tuple[str, int], ...]:
    with open(os.path.join(directory, "cast"), encoding="ascii") as file:
        lines = [line.split() for line in file]
    return tuple((role, int(pid)) for role, pid in sorted(lines, key=lambda line: int(line[1])))


def _end(director: subprocess.Popen[bytes]) -> None:
    # The end of its input is its leash. Should it not follow: all processes of an incident are in the
    # director's process group, but PostgreSQL's, which end by themselves when the first of them is gone.
    # The director is our child and not yet waited for, so that its number can not be somebody else's.
    assert director.stdin
    director.stdin.close()
    deadline = time.monotonic() + _FAREWELL
    options = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while time.monotonic() < deadline and not os.waitid(os.P_PID, director.pid, options):
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.killpg(director.pid, signal.SIGKILL)
    director.wait()
    for pipe in (director.stdin, director.stdout):
        if pipe:
            pipe.close()
