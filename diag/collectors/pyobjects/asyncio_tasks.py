"""asyncio: every task with its coroutine's frames, the future it waits for, and what that future stands for.

``tasks(objects)`` gives all tasks that have not ended, of all loops and threads. ``awaited(objects, task)``
names the Lock, Event, Condition, Semaphore or Queue among whose waiters a task's future is; a Lock keeps no
owner: who holds it follows from the frames (a task that stands inside ``async with``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames, futures, instances
from diag.model.pyobjects import LockObject, TaskObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader
    from diag.model.pyobjects import TaskFrame

Known = dict[int, frozenset[int]]
"""Primitive -> the futures that wait for it."""

MOST_TASKS = 5000
_MOST_WAITERS = 5000
_WAITING = ("_waiters", "_getters", "_putters")
_PRIMITIVES = {
    "asyncio.locks.Lock": "lock",
    "asyncio.locks.Condition": "condition",
    "asyncio.locks.Event": "event",
    "asyncio.locks.Semaphore": "semaphore",
    "asyncio.locks.Barrier": "barrier",
    "asyncio.queues.Queue": "queue",
}


def tasks(objects: PyObjects) -> tuple[TaskObject, ...]:
    """Read every task that has not ended."""
    running = set(_running(objects))
    known: Known = {}
    found = (task(objects, one, is_running=one in running, known=known) for one in _all(objects))
    return tuple(one for one in found if one and one.state == "PENDING")


def _all(objects: PyObjects) -> tuple[int, ...]:
    """Addresses of all tasks: globals of asyncio.tasks; 3.6 keeps them where only a search finds them."""
    found: list[int] = []
    for name in ("_scheduled_tasks", "_eager_tasks", "_all_tasks"):
        address = objects.module_global("asyncio.tasks", name)
        if address:
            found.extend(_members(objects, address))
    kind = objects.module_global("asyncio.tasks", "Task")
    if kind and objects.version < (3, 7):
        found.extend(instances.of(objects, kind, MOST_TASKS))
    return tuple(dict.fromkeys(found))[:MOST_TASKS]


def _members(objects: PyObjects, address: int) -> Iterator[int]:
    """Yield the elements of a set or a WeakSet."""
    inner = objects.attribute(address, "data")
    for one in objects.elements(inner or address, MOST_TASKS):
        target = objects.target(one) if inner else one
        if target and objects.is_a(target, *futures.TASKS):
            yield target


def _running(objects: PyObjects) -> Iterator[int]:
    """Yield the tasks that run at this moment, one a loop (3.7 and later)."""
    current = objects.module_global("asyncio.tasks", "_current_tasks")
    for _, one in objects.items(current) if current else ():
        yield one


def task(
    objects: Reader, address: int, *, is_running: bool = False, known: Known | None = None
) -> TaskObject | None:
    """Read one task; None when it is none.

    ``known`` keeps the waiters of what many tasks wait for, so that they are read once.
    """
    if not objects.is_a(address, *futures.TASKS):
        return None
    coroutine = futures.coroutine(objects, address)
    stack, _ = frames.chain(objects, coroutine) if coroutine else ((), None)
    waited = futures.waits_for(objects, address)
    awaits = objects.look(waited) if waited else None
    behind = _behind(objects, stack, waited, {} if known is None else known) if waited else ()
    return TaskObject(
        address=address,
        name=futures.name(objects, address),
        state=futures.state(objects, address),
        loop=futures.loop(objects, address),
        frames=stack,
        awaits=awaits,
        waits_for=tuple(dict.fromkeys(behind)),
        running=is_running,
    )


def _behind(objects: Reader, stack: tuple[TaskFrame, ...], future: int, known: Known) -> Iterator[int]:
    """Yield the primitives among whose waiters ``future`` is: they are ``self`` of the innermost frames."""
    for frame in stack[:4]:
        for name, value in frame.locals:
            if name != "self":
                continue
            if value not in known:
                known[value] = frozenset(waiting(objects, value))
            if future in known[value]:
                yield value


def waiting(objects: Reader, address: int) -> tuple[int, ...]:
    """The futures that wait for an asyncio primitive, first come first."""
    found: list[int] = []
    for name in _WAITING:
        queue = objects.attribute(address, name)
        found.extend(objects.elements(queue, _MOST_WAITERS) if queue else ())
    return tuple(found)


def describe(objects: Reader, address: int) -> LockObject | None:
    """Read an asyncio Lock, Event, Condition, Semaphore, Barrier or Queue; ``waiters`` are its futures."""
    names = objects.class_names(address)
    kind = next((_PRIMITIVES[name] for name in names if name in _PRIMITIVES), None)
    if kind is None:
        return None
    locked = objects.attribute(address, "_locked")
    inner = objects.attribute(address, "_lock")
    if locked is None and inner and kind == "condition":
        locked = objects.attribute(inner, "_locked")
    value = objects.attribute(address, "_value")
    count = objects.integer(value)
    if kind == "queue":
        items = objects.attribute(address, "_queue")
        count = objects.length(items) if items else None
    return LockObject(
        address=address,
        kind=f"asyncio-{kind}",
        type=names[0],
        locked=objects.truth(locked),
        count=count,
        maximum=objects.integer(objects.attribute(address, "_bound_value", "_parties")),
        waiters=waiting(objects, address),
        lock=inner,
    )
