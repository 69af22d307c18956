"""Whether a process that merely idles in an event loop may hide tasks that wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import asyncio_tasks, loops

if TYPE_CHECKING:
    from diag.collectors.pyobjects import PyObjects
    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Syscall
    from diag.model.pyobjects import TaskObject

_CALLS = ("epoll_wait", "epoll_pwait")
_NEGATIVE = 0x80000000  # of a C int: no time limit (epoll_wait(2))
_ASYNCIO = b"/_asyncio."  # its part in C is loaded with it
_MAPS = 4 << 20
_OWNED = ("asyncio-lock", "asyncio-semaphore")


def idles(call: Syscall | None) -> bool:
    """Whether a system call is how a loop waits that has no timer."""
    is_epoll = call is not None and call.name in _CALLS and len(call.arguments) > 3
    return is_epoll and call is not None and bool(call.arguments[3] & _NEGATIVE)


def has_asyncio(host: Host, pid: int) -> bool:
    """Whether a process has loaded asyncio: a cheap question before its memory is read."""
    try:
        return _ASYNCIO in host.read(f"/proc/{pid}/maps", _MAPS)
    except OSError:
        return False


def may_be_stuck(inquiry: Inquiry, pid: int) -> bool:
    """Look into memory, stopping nobody, for a task that only another one could let go on.

    That is one that waits for a lock, or any at all in a loop that watches nothing. Some 20 ms a process.
    """
    objects = inquiry.objects(pid)
    if objects is None:
        return False
    tasks = asyncio_tasks.tasks(objects)
    return any(_wants_lock(objects, task) for task in tasks) or any(
        _is_lonely(objects, loop) for loop in {task.loop for task in tasks if task.loop}
    )


def _wants_lock(objects: PyObjects, task: TaskObject) -> bool:
    found = (asyncio_tasks.describe(objects, address) for address in task.waits_for)
    return any(lock is not None and lock.kind in _OWNED for lock in found)


def _is_lonely(objects: PyObjects, loop: int) -> bool:
    seen = loops.describe(objects, loop)
    return (seen.timers, seen.ready, seen.watched) == (0, 0, ())
