"""What a thread can block on: where it sleeps, whether it is taken, by whom, and who waits for word.

``describe`` knows Lock, RLock, Condition, Semaphore, Event, Barrier, Thread, queue.Queue, SimpleQueue,
multiprocessing's locks, an import's module lock and a logging handler's lock, on every version. An RLock
knows its owner, a Lock does not. ``waited_on`` tells whether a sleeping thread wants this lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors.pyobjects import c_locks
from diag.collectors.pyobjects.c_locks import PLAIN, join_words, words_of
from diag.model.pyobjects import LockObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.collectors.pyobjects.reader import Reader

MOST_WAITERS = 5000
_MOST_DEPTH = 4  # multiprocessing: an event's condition's lock's SemLock


def describe(objects: Reader, address: int, depth: int = _MOST_DEPTH) -> LockObject | None:
    """Read something a thread can block on; None when it is nothing of the kind or unreadable."""
    names = objects.class_names(address)
    for name in names:
        if (kind := _KINDS.get(name)) and depth > 0:
            return kind(_Place(objects, address, names[0], depth))
    return None


def settled(objects: Reader, address: int, tries: int = 3) -> LockObject | None:
    """Read a lock until two readings agree; None when it keeps changing: nobody is stuck on that one."""
    for _ in range(tries):
        found = describe(objects, address)
        objects.forget()
        if describe(objects, address) == found:
            return found
    return None


def waited_on(lock: LockObject, word: int) -> str | None:
    """Say how a thread that sleeps on ``word`` waits: "acquire", "notify", or None for not at all."""
    if word in lock.futex_words:
        return "acquire"
    return "notify" if word in lock.waiters else None


def parked_on(objects: Reader, futex_word: int) -> int | None:
    """Find what a thread is parked on (3.13 and later): the word before its own semaphore.

    ``struct wait_entry {void *park_arg; uintptr_t addr; _PySemaphore sema; …}``, Python/parking_lot.c.
    """
    return objects.memory.word(futex_word - 8) if objects.layout.version >= (3, 13) else None


class _Place(NamedTuple):
    """One object to be described."""

    objects: Reader
    address: int
    type: str
    depth: int

    def inner(self, *names: str) -> LockObject | None:
        """Describe the first of these attributes."""
        found = self.objects.attribute(self.address, *names)
        return describe(self.objects, found, self.depth - 1) if found else None

    def number(self, *names: str) -> int | None:
        return self.objects.integer(self.objects.attribute(self.address, *names))


def _in_c(read: Callable[[Reader, int, str], LockObject | None]) -> Callable[[_Place], LockObject | None]:
    return lambda place: read(place.objects, place.address, place.type)


def _python_rlock(place: _Place) -> LockObject | None:
    """RLock in Python: all there is in 2.7; ``threading._RLock`` later."""
    inner = place.inner("_block", "_RLock__block")
    count = place.number("_count", "_RLock__count")
    if inner is None or count is None:
        return None
    owner = place.number("_owner", "_RLock__owner")
    return replace(
        inner,
        address=place.address,
        kind="rlock",
        type=place.type,
        owner_ident=owner,
        count=count,
        lock=inner.address,
    )


def _condition(place: _Place) -> LockObject | None:
    inner = place.inner("_lock", "_Condition__lock")
    waiters = place.objects.attribute(place.address, "_waiters", "_Condition__waiters")
    if waiters is None:
        return None
    return LockObject(
        address=place.address,
        kind="condition",
        type=place.type,
        futex_words=inner.futex_words if inner else (),
        locked=inner.locked if inner else None,
        owner_ident=inner.owner_ident if inner else None,
        waiters=tuple(words_of(place.objects, place.objects.elements(waiters, MOST_WAITERS))),
        lock=inner.address if inner else None,
    )


def _on_condition(kind: str, *counts: str) -> Callable[[_Place], LockObject | None]:
    """Make the reader of a class that is a condition and a number: its value, its flag."""

    def read(place: _Place) -> LockObject | None:
        inner = place.inner("_cond", "_Semaphore__cond", "_Event__cond")
        if inner is None:
            return None
        return replace(inner, address=place.address, kind=kind, type=place.type, count=place.number(*counts))

    return read


def _thread(place: _Place) -> LockObject | None:
    words = join_words(place.objects, place.address)
    name = place.objects.attribute(place.address, "_name", "_Thread__name")
    return LockObject(
        address=place.address,
        kind="thread",
        type=place.type,
        futex_words=words,
        name=place.objects.text(name) if name else None,
    )


def _queue(place: _Place) -> LockObject | None:
    mutex = place.inner("mutex")
    if mutex is None:
        return None
    conditions = (place.inner("not_empty"), place.inner("not_full"), place.inner("all_tasks_done"))
    waiters = tuple(word for one in conditions if one for word in one.waiters)
    return replace(
        mutex, address=place.address, kind="queue", type=place.type, waiters=waiters, lock=mutex.address
    )


def _wrapped_semlock(place: _Place) -> LockObject | None:
    inner = place.inner("_semlock")
    return inner and replace(inner, address=place.address, type=place.type, lock=inner.address)


def _process_condition(place: _Place) -> LockObject | None:
    """multiprocessing.Condition: its waiters sleep on a semaphore that ``notify`` releases."""
    inner, waiting = place.inner("_lock"), place.inner("_wait_semaphore")
    if inner is None or waiting is None:
        return None
    return replace(
        inner, address=place.address, kind="condition", type=place.type,
        waiters=waiting.futex_words, lock=inner.address,
    )  # fmt: skip


def _module_lock(place: _Place) -> LockObject | None:
    """The import system's _ModuleLock: owner is a thread ident; those who wait sleep on ``wakeup``."""
    inner, wakeup = place.inner("lock"), place.inner("wakeup")
    if inner is None or wakeup is None:
        return None
    name = place.objects.attribute(place.address, "name")
    owner = place.number("owner")
    counted = place.objects.attribute(place.address, "count")
    count = place.objects.integer(counted) if counted else None
    if counted and count is None:  # 3.12: a list, one element each time it was taken
        count = place.objects.length(counted)
    return LockObject(
        address=place.address,
        kind="module-lock",
        type=place.type,
        futex_words=wakeup.futex_words,
        locked=owner is not None,
        owner_ident=owner,
        count=count,
        lock=inner.address,
        name=place.objects.text(name) if name else None,
    )


def _handler(place: _Place) -> LockObject | None:
    return place.inner("lock")


_KINDS: dict[str, Callable[[_Place], LockObject | None]] = {
    **dict.fromkeys(PLAIN, _in_c(c_locks.plain)),
    "_thread.RLock": _in_c(c_locks.recursive),
    "threading._RLock": _python_rlock,
    **dict.fromkeys(("threading.Condition", "threading._Condition"), _condition),
    **dict.fromkeys(
        ("threading.Semaphore", "threading._Semaphore"),
        _on_condition("semaphore", "_value", "_Semaphore__value"),
    ),
    **dict.fromkeys(("threading.Event", "threading._Event"), _on_condition("event", "_flag", "_Event__flag")),
    "threading.Barrier": _on_condition("barrier", "_count"),
    "threading.Thread": _thread,
    **dict.fromkeys(("queue.Queue", "Queue.Queue"), _queue),
    "_queue.SimpleQueue": _in_c(c_locks.simple_queue),
    "_multiprocessing.SemLock": _in_c(c_locks.semlock),
    "multiprocessing.synchronize.SemLock": _wrapped_semlock,
    "multiprocessing.synchronize.Condition": _process_condition,
    "multiprocessing.synchronize.Event": _on_condition("event"),
    **dict.fromkeys(("_frozen_importlib._ModuleLock", "importlib._bootstrap._ModuleLock"), _module_lock),
    "logging.Handler": _handler,
}
"""By class, subclasses included."""
