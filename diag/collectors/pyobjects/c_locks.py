"""The locks that CPython builds on the system's own: where their owners sleep, and their fields."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from diag.model.pyobjects import LockObject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.collectors.pyobjects.reader import Reader

PLAIN = ("_thread.lock", "thread.lock")
_SEMAPHORE_WAITERS = 1 << 20


def semaphore_of(objects: Reader, address: int) -> int | None:
    """Follow ``lock_lock`` to a sem_t (2.7 to 3.13), which must look like one that serves as a lock."""
    pointer = objects.memory.word(address + 16)
    data = objects.memory.read(pointer, 8) if pointer and pointer % 8 == 0 else None
    if data is None:
        return None
    value, waiting = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
    return pointer if value in (0, 1) and waiting < _SEMAPHORE_WAITERS else None


def plain(objects: Reader, address: int, name: str) -> LockObject | None:
    """Lock {lock_lock 16}; 3.14 {mutex 16}."""
    if objects.layout.parking:
        byte = objects.memory.read(address + 16, 1)
        if byte is None:
            return None
        words, locked = (address + 16,), bool(byte[0] & 1)
        return LockObject(address=address, kind="lock", type=name, futex_words=words, locked=locked)
    word = semaphore_of(objects, address)
    if word is None:
        return None
    value = objects.memory.int32(word)
    return LockObject(
        address=address,
        kind="lock",
        type=name,
        futex_words=(word,),
        locked=value == 0,
    )


def recursive(objects: Reader, address: int, name: str) -> LockObject | None:
    """RLock in C {lock 16, owner 24, count 32}; 3.14 {mutex 16, owner 24, count - 1 32}."""
    memory = objects.memory
    owner, count = memory.words(address + 24, 2) or (0, 0)
    if objects.layout.parking:
        byte = memory.read(address + 16, 1)
        if byte is None:
            return None
        word, count = address + 16, count + (byte[0] & 1)
    else:
        found = semaphore_of(objects, address)
        if found is None:
            return None
        word = found
    if count >= 1 << 32 or (count and not owner):
        return None
    return LockObject(
        address=address,
        kind="rlock",
        type=name,
        futex_words=(word,),
        locked=count > 0,
        owner_ident=owner if count else None,
        count=count,
    )


def simple_queue(objects: Reader, address: int, name: str) -> LockObject | None:
    """_queue.SimpleQueue: a lock that is taken while it is empty (3.7), a parking place (3.13)."""
    if objects.layout.version >= (3, 13):
        words: tuple[int, ...] = (address + 16,)
    else:
        found = semaphore_of(objects, address)
        words = (found,) if found else ()
    return LockObject(address=address, kind="simple-queue", type=name, futex_words=words)


def semlock(objects: Reader, address: int, name: str) -> LockObject | None:
    """_multiprocessing.SemLock {handle 16, last_tid 24, int count 32, int maxvalue 36, int kind 40}."""
    handle = objects.memory.word(address + 16)
    last = objects.memory.word(address + 24)
    count, most = objects.memory.int32(address + 32), objects.memory.int32(address + 36)
    value = objects.memory.int32(handle) if handle else None
    if handle is None or count is None or most is None or value is None or most <= 0:
        return None
    owned = count > 0 and most == 1
    return LockObject(
        address=address,
        kind="semlock",
        type=name,
        futex_words=(handle,),
        locked=value == 0,
        owner_ident=last if owned else None,
        count=value,
    )


def words_of(objects: Reader, locks: Iterable[int]) -> Iterable[int]:
    """Where the owners of these locks sleep: each waiter of a condition brings a lock of its own."""
    for one in locks:
        if objects.is_a(one, *PLAIN):
            if objects.layout.parking:
                yield one + 16
            elif word := semaphore_of(objects, one):
                yield word


def join_words(objects: Reader, address: int) -> tuple[int, ...]:
    """Where a thread in ``join`` of this Thread sleeps."""
    if lock := objects.attribute(address, "_tstate_lock"):  # 3.4 to 3.12; None once it has ended
        return tuple(words_of(objects, (lock,)))
    if block := objects.attribute(address, "_Thread__block"):  # 2.7: a condition
        waiters = objects.attribute(block, "_Condition__waiters")
        return tuple(words_of(objects, objects.elements(waiters))) if waiters else ()
    handle = objects.attribute(address, "_handle")
    return event_of(objects, handle) if handle else ()


def event_of(objects: Reader, handle: int) -> tuple[int, ...]:
    """Find the PyEvent of a 3.13 ThreadHandle {…, ident, handle, int, int state, mutex byte, event byte}.

    What lies before the ident moved between releases, so it is found by the ident itself, which
    comes twice: measured on 3.13.0, event at 57, ident at 32.
    """
    inside = objects.memory.word(handle + 16)
    words = objects.memory.words(inside, 8) if inside else ()
    for at, (one, two) in enumerate(itertools.pairwise(words)):
        if inside and one == two and one > 1 << 16:
            return (inside + 8 * at + 25,)
    return ()
