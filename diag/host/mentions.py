"""Which processes may run with a word: it is on their command line, or they pause as a script does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINE = 64 << 10
_PAUSES = frozenset(
    {b"do_wait", b"do_sigtimedwait", b"hrtimer_nanosleep", b"poll_schedule_timeout", b"do_select"}
)
"""What a thread sleeps in that waits for a child or for some time (kernel functions, of /proc/PID/wchan)."""


def mentions(words: Sequence[str]) -> tuple[int, ...]:
    """Return the processes with one of ``words`` on their command line, and those that pause, in order.

    In one step, and raw: a command line is redacted where it leaves the host, and here none does.
    """
    wanted = [word.encode("utf-8", "surrogateescape") for word in words]
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return tuple(pid for pid in pids if _mentions(pid, wanted))


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
