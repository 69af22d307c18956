"""Whether a process can be stopped for a moment without harm to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import fuse, threads
from diag.collectors.process import parse_stat
from diag.errors import MalformedError

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.facts import Process

# System calls that fail with EINTR when their process is stopped and let go: signal(7), last section.
_RETRIED_SINCE_3_5 = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2", "rt_sigtimedwait"})  # PEP 475
_ENDED_BY_A_STOP = frozenset({"semop", "semtimedop", "msgrcv", "msgsnd", "io_getevents"})
# A stop makes a write that has got half of its data out return that half. Measured on a full pipe: Python 3
# takes a partial sys.stdout.write() for a whole one, loses the rest and goes on, freed from its deadlock.
_CUT_SHORT_BY_A_STOP = frozenset(
    {"write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice"}
)


def may_pause(host: Host, process: Process) -> bool:
    """Whether the process can be stopped for a moment without harm.

    Not when a thread is stopped, traced, frozen, in D state or waits for a FUSE server: py-spy fails or hangs
    on it. Not when
    a thread is in a system call that a stop ends with EINTR (signal(7)), unless what called it is known to
    try again: measured, a 2.7 program in epoll_wait() died of "Interrupted system call". And not when one
    is in a write, which a stop cuts short.
    """
    if process.tracer is not None or process.frozen:
        return False
    try:
        names = host.names(f"/proc/{process.pid}/task")
    except OSError:
        return False
    if any(state(host, f"/proc/{process.pid}/task/{name}/stat") in "TtD" for name in names):
        return False
    if any(_waits_for_server(host, f"/proc/{process.pid}/task/{name}/wchan") for name in names):
        return False
    calls = {call.name for _, call in threads.syscalls(host, process.pid) if call}
    if calls & (_ENDED_BY_A_STOP | _CUT_SHORT_BY_A_STOP):
        return False
    return not calls & _RETRIED_SINCE_3_5 or not _is_python_2(host, process)


def _is_python_2(host: Host, process: Process) -> bool:
    try:
        return b"python2" in host.read(f"/proc/{process.pid}/maps", 4 << 20)
    except OSError:
        return True


def state(host: Host, path: str) -> str:
    """Read the state of a process or thread from its stat file; X when it is gone."""
    try:
        return parse_stat(host.read(path, 1 << 12).decode("utf-8", "replace"))["state"]
    except (OSError, MalformedError):
        return "X"


def _waits_for_server(host: Host, path: str) -> bool:
    try:
        return fuse.SLEEPS_IN in host.read(path, 1 << 12).decode("ascii", "replace")
    except OSError:
        return False
