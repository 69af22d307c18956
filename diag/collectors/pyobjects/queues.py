"""Queues between threads and processes: how long, how full, who waits to put and who to get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import locks
from diag.model.pyobjects import QueueObject

if TYPE_CHECKING:
    from diag.collectors.pyobjects.reader import Reader
    from diag.model.pyobjects import LockObject

SIMPLE = "_queue.SimpleQueue"
QUEUES = ("queue.Queue", "Queue.Queue")
BETWEEN_PROCESSES = ("multiprocessing.queues.Queue", "multiprocessing.queues.SimpleQueue")


def describe(objects: Reader, address: int) -> QueueObject | None:
    """Read a queue.Queue (PriorityQueue, LifoQueue), SimpleQueue or multiprocessing queue; else None."""
    if objects.is_a(address, SIMPLE):
        return QueueObject(
            address=address,
            type=SIMPLE,
            length=_simple_length(objects, address),
            not_empty=locks.describe(objects, address),
        )

    def inner(name: str) -> LockObject | None:
        found = objects.attribute(address, name)
        return locks.describe(objects, found) if found else None

    if objects.is_a(address, *BETWEEN_PROCESSES):
        buffer = objects.attribute(address, "_buffer")
        return QueueObject(
            address=address,
            type=objects.type_name(address),
            length=objects.length(buffer) if buffer else None,
            maxsize=objects.integer(objects.attribute(address, "_maxsize")) or 0,
            mutex=inner("_rlock"),
            not_empty=inner("_notempty"),  # on which its own feeder thread waits
            not_full=inner("_sem"),
            reader_fd=_connection(objects, address, "_reader"),
            writer_fd=_connection(objects, address, "_writer"),
        )
    if not objects.is_a(address, *QUEUES):
        return None

    items = objects.attribute(address, "queue")
    return QueueObject(
        address=address,
        type=objects.type_name(address),
        length=objects.length(items) if items else None,
        maxsize=objects.integer(objects.attribute(address, "maxsize")) or 0,
        unfinished=objects.integer(objects.attribute(address, "unfinished_tasks")),
        mutex=inner("mutex"),
        not_empty=inner("not_empty"),
        not_full=inner("not_full"),
        all_done=inner("all_tasks_done"),
    )


def _connection(objects: Reader, address: int, name: str) -> int | None:
    """Read the descriptor of a multiprocessing Connection (3.x; in 2.7 it is a C object of its own form)."""
    found = objects.attribute(address, name)
    return objects.integer(objects.attribute(found, "_handle")) if found else None


def items(objects: Reader, address: int, most: int = 100) -> tuple[int, ...]:
    """The addresses of what is in a queue, first out first."""
    if objects.is_a(address, SIMPLE):
        return _simple_items(objects, address, most)
    inside = objects.attribute(address, "queue")
    return objects.elements(inside, most) if inside else ()


def _simple_length(objects: Reader, address: int) -> int | None:
    """SimpleQueue {lock 16, locked 24, list 32, position 40}; from 3.13 on a ring.

    The ring: {put 24, get 32, items 40, size 48, count 56}.
    """
    if objects.layout.version >= (3, 13):
        count = objects.memory.word(address + 56)
    else:
        listed, position = objects.memory.words(address + 32, 2) or (0, 0)
        length = objects.length(listed) if listed else None
        count = None if length is None else length - position
    return count if count is not None and 0 <= count < 1 << 32 else None


def _simple_items(objects: Reader, address: int, most: int) -> tuple[int, ...]:
    count = min(_simple_length(objects, address) or 0, most)
    if objects.layout.version >= (3, 13):
        first, ring, size = objects.memory.words(address + 32, 3) or (0, 0, 0)
        if not ring or not 0 < size < 1 << 24 or first >= size:
            return ()
        slots = objects.memory.words(ring, size)
        return tuple(slots[(first + at) % size] for at in range(count)) if slots else ()
    listed, position = objects.memory.words(address + 32, 2) or (0, 0)
    if not listed or position >= 1 << 32:
        return ()
    return objects.elements(listed, position + count)[position:]
