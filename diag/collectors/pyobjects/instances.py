"""Objects found by searching memory: all instances of a class, the lock that a futex word belongs to.

The search itself is one call of the host, so that a recording holds the answer and not the memory.
It costs about a second a gigabyte: ask it once a process, and not in passing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import c_locks
from diag.collectors.pyobjects.layouts import FLAG_GC

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from diag.collectors.pyobjects import PyObjects

MOST_TYPES = 60
_SUBCLASSES = 360  # PyTypeObject.tp_subclasses: a dict of weak references; 2.7: a list of them
_IMMORTAL = 1 << 34  # reference counts are below it, freed objects have 0 or a pointer in their place
_LOCKS = (*c_locks.PLAIN, "_thread.RLock", "_queue.SimpleQueue")


def of(objects: PyObjects, kind: int, most: int = 1000) -> tuple[int, ...]:
    """Find the instances of a class and of its subclasses: addresses, at most ``most``."""
    kinds = tuple(subclasses(objects, kind))
    found = (address for address, _ in _search(objects, kinds, 8))
    return tuple(_alive(objects, found))[:most]


def subclasses(objects: PyObjects, kind: int) -> Iterator[int]:
    """Yield a class and all that are derived from it, at most ``MOST_TYPES``."""
    waiting, seen = [kind], {kind}
    for one in waiting:
        if objects.types.at(one) is None:
            continue
        yield one
        table = objects.memory.word(one + _SUBCLASSES) or 0
        references = [value for _, value in objects.items(table)] if table else []
        references += objects.elements(table) if table and not references else ()
        new = [objects.target(reference) or 0 for reference in references]
        waiting.extend(address for address in new if address and address not in seen)
        seen.update(new)
        if len(waiting) > MOST_TYPES:
            del waiting[MOST_TYPES:]


def lock_at(objects: PyObjects, words: Collection[int]) -> dict[int, int]:
    """Find the Lock, RLock or SimpleQueue that each futex word belongs to: word -> address.

    Up to 3.13 these objects point to their semaphore; a word that several point to is left out.
    """
    found: dict[int, set[int]] = {}
    for address, word in _search(objects, words, 16):
        if objects.is_a(address, *_LOCKS) and c_locks.semaphore_of(objects, address) == word:
            found.setdefault(word, set()).update(_alive(objects, (address,)))
    return {word: places.pop() for word, places in found.items() if len(places) == 1}


def _search(objects: PyObjects, words: Collection[int], offset: int) -> Iterator[tuple[int, int]]:
    """Yield (address, word) of what may be objects that hold one of ``words`` at ``offset``."""
    try:
        answer = objects.host.find_words(objects.pid, tuple(sorted(words)))
    except OSError:
        return
    for hit in answer.found:
        yield hit.address - offset, hit.word


def _alive(objects: PyObjects, addresses: Collection[int] | Iterator[int]) -> Iterator[int]:
    """Leave out what was freed, and what only looks like an object."""
    for address in addresses:
        count, kind = objects.memory.word(address), objects.type_of(address)
        if not count or count >= _IMMORTAL or kind is None:
            continue
        if not kind.flags & FLAG_GC or _is_tracked(objects, address):
            yield address


def _is_tracked(objects: PyObjects, address: int) -> bool:
    """Whether the collector's list goes through an object: its successor points back to it."""
    head = address - objects.layout.gc_head
    following = (objects.memory.word(head) or 0) & ~7  # 3.14 keeps a flag in it
    back = objects.memory.word(following + 8) if following else None
    return back is not None and back & ~7 == head
