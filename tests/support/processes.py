"""Programs under test: started, watched through /proc until they are where we want them, ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
MARK = "DIAG_TEST_PROGRAM"
T = TypeVar("T")


class Program(NamedTuple):
    """A program under test that has said "ready"."""

    pid: int
    said: dict[str, int]  # what it printed before: "holder 123" -> {"holder": 123}
    process: subprocess.Popen[str]
    errors: IO[str]  # its stderr, as a file

    def stderr(self) -> str:
        """Everything it has written to stderr so far."""
        self.errors.seek(0)
        return self.errors.read()


@contextmanager
def running(
    python: str | Sequence[str],
    program: str,
    *args: object,
    path: Path | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 30,
) -> Iterator[Program]:
    """Run ``tests/programs/PROGRAM`` until it is ready, and end it with all it started.

    ``python`` is an interpreter, or an argv that ends in one; ``path`` goes to its PYTHONPATH.
    The program prints ``ready`` when its part is done, and before that lines ``role PID``. An end
    before that is an error that shows its stderr.
    """
    launcher = [python] if isinstance(python, str) else list(python)
    argv = [*launcher, str(PROGRAMS / program), *map(str, args)]
    with started(argv, path=path, env=env) as (process, errors):
        said = _until_ready(process, errors, time.monotonic() + timeout)
        yield Program(process.pid, said, process, errors)


@contextmanager
def started(
    argv: Sequence[str], *, path: Path | None = None, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start any program, and at the end kill it and every process it has started since.

    They are known by a mark in their environment: a session or a process group would miss
    daemons, a walk over parents would miss orphans.
    """
    mark = uuid.uuid4().hex
    environment = {**os.environ, **(env or {}), MARK: mark, "PYTHONDONTWRITEBYTECODE": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process, errors
        finally:
            _end(process, mark)


def _end(process: subprocess.Popen[str], mark: str) -> None:
    # Until nobody is left: a process may fork between our look and our signal.
    while left := _marked(mark):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()  # a zombie of ours has no environment left to read
        time.sleep(0.01)
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _marked(mark: str) -> list[int]:
    needle = f"{MARK}={mark}".encode()
    found = []
    for pid in pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if needle in environment.split(b"\0"):
            found.append(pid)
    return found


def _until_ready(process: subprocess.Popen[str], errors: IO[str], deadline: float) -> dict[str, int]:
    assert process.stdout
    said: dict[str, int] = {}
    text = b""
    descriptor = process.stdout.fileno()
    while True:
        *lines, text = text.split(b"\n")
        for line in lines:
            if line == b"ready":
                return said
            name, _, number = line.decode().partition(" ")
            said[name] = int(number)
        # Its children hold the pipe open after its death, so end-of-file alone would not do.
        if select.select([descriptor], [], [], 0.05)[0]:
            piece = os.read(descriptor, 4096)
            text += piece
            if piece:
                continue
        if process.poll() is not None or time.monotonic() > deadline:
            errors.seek(0)
            late = "is not ready" if process.returncode is None else "died early"
            raise AssertionError(f"{process.args!r} {late}:\n{errors.read()}")


def wait_until(look: Callable[[], T], what: str, timeout: float = 20) -> T:
    """Ask ``look`` until it answers something true, and return that; fail loudly at ``timeout``."""
    deadline = time.monotonic() + timeout
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return answer


def pids() -> list[int]:
    """Every process of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid: int) -> list[int]:
    """Return the children of a process, in order of pid."""
    found = []
    for tid in _names(f"/proc/{pid}/task"):
        found += [int(child) for child in read(f"/proc/{pid}/task/{tid}/children").split()]
    return sorted(found)


def state(pid: int, tid: int | None = None) -> str:
    """Return the kernel's letter for a thread: R S D T t Z; "" when it is gone."""
    _, _, tail = read(f"/proc/{pid}/task/{tid or pid}/stat").rpartition(")")
    return tail.split()[0] if tail else ""


# x86-64 and aarch64; the generic table of the kernel for the latter. time.sleep() is pselect6()
# before Python 3.11.
SYSCALLS = {
    "x86_64": {
        "read": (0,), "write": (1,), "poll": (7, 271), "select": (23, 270), "fcntl": (72,),
        "flock": (73,), "wait4": (61,), "waitid": (247,), "futex": (202,), "connect": (42,),
        "accept": (43, 288), "recv": (45, 47), "epoll_wait": (232, 281), "pause": (34,),
        "sleep": (35, 230, 23, 270), "openat": (257,), "sigtimedwait": (128,),
    },
    "aarch64": {
        "read": (63,), "write": (64,), "poll": (73,), "select": (72,), "fcntl": (25,),
        "flock": (32,), "wait4": (260,), "waitid": (95,), "futex": (98,), "connect": (203,),
        "accept": (202, 242), "recv": (207, 212), "epoll_wait": (22,), "pause": (73,),
        "sleep": (101, 115, 72), "openat": (56,), "sigtimedwait": (137,),
    },
}  # fmt: skip


def threads_in(pid: int, call: str) -> list[int]:
    """Return the threads of a process that sleep in system call ``call`` right now."""
    numbers = SYSCALLS[os.uname().machine][call]
    inside = []
    for tid in _names(f"/proc/{pid}/task"):
        first = read(f"/proc/{pid}/task/{tid}/syscall").partition(" ")[0]
        if first.isdigit() and int(first) in numbers:
            inside.append(int(tid))
    return inside


def wait_for_call(pid: int, call: str, count: int = 1, timeout: float = 20) -> None:
    """Wait until ``count`` threads of a process sleep in system call ``call``."""
    wait_until(lambda: len(threads_in(pid, call)) >= count, f"{count} x {call} in {pid}", timeout=timeout)


def futex_word(pid: int, tid: int) -> int:
    """Return the word a thread sleeps on in futex(2), once it does so without a time limit."""

    def sleeps() -> list[str]:
        words = read(f"/proc/{pid}/task/{tid}/syscall").split()
        inside = words and words[0].isdigit() and int(words[0]) in SYSCALLS[os.uname().machine]["futex"]
        return words if inside and words[4] == "0x0" else []

    return int(wait_until(sleeps, f"thread {tid} sleeps on a futex")[1], 16)


def words_slept_on(program: Program) -> dict[str, int]:
    """Return, for each ``tid_NAME`` that a program said, the futex word that thread sleeps on: by NAME."""
    tids = {name[4:]: tid for name, tid in program.said.items() if name.startswith("tid_")}
    return {name: futex_word(program.pid, tid) for name, tid in tids.items()}


def wait_for_poller(pid: int, path: Path | str, timeout: float = 20) -> None:
    """Wait until a process comes back again and again to an open file it sleeps between.

    A poller has no state that lasts; what shows is that its context switches go up.
    """
    wait_until(lambda: _has_open(pid, path) or _switches(pid) > 20, f"{pid} opens {path}", timeout)
    before = _switches(pid)
    wait_until(lambda: _switches(pid) >= before + 3, f"{pid} polls", timeout=timeout)


def _has_open(pid: int, path: Path | str) -> bool:
    for name in _names(f"/proc/{pid}/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{name}") == str(path):
                return True
    return False


def _switches(pid: int) -> int:
    total = 0
    for tid in _names(f"/proc/{pid}/task"):
        for line in read(f"/proc/{pid}/task/{tid}/status").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def lock_lines(path: Path | str) -> list[str]:
    """Return the lines of /proc/locks about a file (device and inode)."""
    found = os.stat(path)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return [line for line in read("/proc/locks").splitlines() if f" {device} " in line]


def waiters(path: Path | str) -> int:
    """Return how many requests are blocked on a file's locks."""
    return sum("->" in line for line in lock_lines(path))


def read(path: str) -> str:
    """Read a /proc file; "" when its process is gone."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
