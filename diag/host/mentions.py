"""Which processes may run with a word: it is on their command line, or they pause as a script does."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LINE = 64 << 10
_PAUSES = frozenset(
    {b"do_wait", b"do_sigtimedwait", b"hrtimer_nanosleep", b"poll_schedule_timeout", b"do_select"}
)
"""What a thread sleeps in that waits for a child or for some time (kernel functions, of /proc/PID/wchan)."""


def mentions(words: Sequence[str]) -> tuple[int, ...]:
    """Return the processes with one of ``words`` on their command line, and those that pause, in order.

    In one step, and raw: a command line is redacted where it leaves the host, and here none does.
    Left out is this process with its parents (a shell, ssh, sudo, watch): they run with the words of our own
    command line, and wait for us.
    """
    wanted = [word.encode("utf-8", "surrogateescape") for word in words]
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}.difference(_ourselves())
    return tuple(pid for pid in sorted(pids) if _mentions(pid, wanted))


def _ourselves() -> Iterator[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        status = _read(f"/proc/{pid}/status", _LINE)
        parent = re.search(rb"^PPid:\t(\d+)", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0


def _mentions(pid: int, wanted: Sequence[bytes]) -> bool:
    line = _read(f"/proc/{pid}/cmdline", _LINE)
    return any(word in line for word in wanted) or _read(f"/proc/{pid}/wchan", 64) in _PAUSES


def _read(path: str, limit: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, limit)
    except OSError:
        return b""
    finally:
        os.close(handle)
