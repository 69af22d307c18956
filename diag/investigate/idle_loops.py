"""Whether a process that idles in an event loop may hide tasks or greenlets that wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import asyncio_tasks, green_locks, greenlets, loops

if TYPE_CHECKING:
    from diag.collectors.pyobjects import PyObjects
    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Syscall
    from diag.model.pyobjects import TaskObject

_COUNTED = {
    "epoll_wait": 2, "epoll_pwait": 2, "epoll_pwait2": 2, "poll": 1, "ppoll": 1, "select": 0, "pselect6": 0,
}  # fmt: skip
"""System calls of event loops -> which argument counts what is watched: without any it is a mere sleep."""
_MARKS = (b"/_asyncio.", b"greenlet")  # parts in C that are loaded with asyncio, and with gevent or eventlet
_MAPS = 4 << 20
_OWNED = ("asyncio-lock", "asyncio-semaphore", "greenlet-lock", "greenlet-rlock", "greenlet-semaphore")


def idles(call: Syscall | None) -> bool:
    """Whether a system call is how an event loop waits; with a time limit where it has a timer."""
    at = _COUNTED.get(call.name or "") if call else None
    return at is not None and call is not None and len(call.arguments) > at and call.arguments[at] > 0


def has_tasks(host: Host, pid: int) -> bool:
    """Whether a process has loaded asyncio or greenlets: a cheap question before its memory is read."""
    try:
        maps = host.read(f"/proc/{pid}/maps", _MAPS)
    except OSError:
        return False
    return any(mark in maps for mark in _MARKS)


def may_be_stuck(inquiry: Inquiry, pid: int) -> bool:
    """Look into memory, stopping nobody, for a task that only another one could let go on.

    That is one that waits for a lock, or any at all in a loop that watches nothing. Some 20 ms a process.
    """
    objects = inquiry.objects(pid)
    tasks = asyncio_tasks.tasks(objects) if objects else ()
    return objects is not None and (
        any(_wants_lock(objects, task) for task in tasks)
        or any(_is_lonely(objects, loop) for loop in {task.loop for task in tasks if task.loop})
    )


def has_hub(inquiry: Inquiry, pid: int) -> bool:
    """Whether a process runs greenlets of gevent."""
    objects = inquiry.objects(pid)
    return objects is not None and bool(objects.module("gevent.hub"))


def greenlets_may_be_stuck(inquiry: Inquiry, pid: int) -> bool:
    """The same for greenlets: all memory of the process is searched for them, a second a gigabyte."""
    objects = inquiry.objects(pid)
    return objects is not None and _green_wants(objects)


def _wants_lock(objects: PyObjects, task: TaskObject) -> bool:
    found = (asyncio_tasks.describe(objects, address) for address in task.waits_for)
    return any(lock is not None and lock.kind in _OWNED for lock in found)


def _is_lonely(objects: PyObjects, loop: int) -> bool:
    seen = loops.describe(objects, loop)
    return (seen.timers, seen.ready, seen.watched) == (0, 0, ())


def _green_wants(objects: PyObjects) -> bool:
    """Whether a greenlet waits for a lock, or two of them for each other to end."""
    found = greenlets.greenlets(objects)
    known = {one.address for one in found}
    for one in found:
        lock = green_locks.waits_for(objects, one)
        if lock is not None and lock.kind in _OWNED:
            return True
    behind = {one: known & green_locks.waiting(objects, one) for one in known}
    return any(other != one and one in behind[other] for one, others in behind.items() for other in others)
