"""What a switched-out greenlet of gevent waits for: whatever keeps it among those it will switch to.

gevent's locks, events, queues and greenlets are C objects without public fields, so nothing is taken from
an offset: an object counts as waited for when a list of its own leads to the greenlet (a method of the
greenlet, or of a ``Waiter`` that holds it), and it is looked for where the greenlet stands: among the
pointers of its saved C stack, and as ``self`` of its innermost frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import greenlets, instances
from diag.collectors.pyobjects.reader import DEQUE
from diag.model.pyobjects import LockObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader
    from diag.model.pyobjects import GreenletObject

_KINDS = {
    "LockType": "lock",
    "RLock": "rlock",
    "Semaphore": "semaphore",  # and what is derived from it
    "Event": "event",
    "AsyncResult": "event",
    "Queue": "queue",
    "SimpleQueue": "queue",
    "Channel": "queue",
}
_TIMERS = (
    ("gevent.libev.corecext", "timer"), ("gevent.libev.watcher", "timer"), ("gevent.libuv.watcher", "timer"),
)  # fmt: skip
_LISTS = ("list", "set", DEQUE)
_METHODS = ("method", "instancemethod")
_IN_C = "builtin_function_or_method"
_C_SELF = 24  # PyCFunctionObject.m_self
_LARGEST = 256  # bytes of a C object that are looked at
_WAITER_WORDS = 6
_MOST = 1000
_MOST_FRAMES = 4
_MOST_PLACES = 1 << 20


def waits_for(objects: Reader, greenlet: GreenletObject) -> LockObject | None:
    """Read the lock, event or queue that has a greenlet among its waiters; None when none was found."""
    near = tuple(dict.fromkeys((*_selves(greenlet), *greenlets.pointers(objects, greenlet.address))))
    for address in near:
        kind = _kind(objects, address)
        if kind not in (None, "rlock") and greenlet.address in waiting(objects, address):
            return _describe(objects, address, str(kind), near)
    return None


def _selves(greenlet: GreenletObject) -> Iterator[int]:
    """What the methods in which it waits belong to, where they are written in Python."""
    for frame in greenlet.frames[:_MOST_FRAMES]:
        yield from (address for name, address in frame.locals if name == "self")


def _kind(objects: Reader, address: int) -> str | None:
    for name in objects.class_names(address):
        module, _, last = name.rpartition(".")
        if module.startswith("gevent") and last in _KINDS:
            return _KINDS[last]
    return None


def inner(objects: Reader, address: int) -> int | None:
    """The lock inside a reentrant one written in Python (gevent's, and threading's once it is patched)."""
    return objects.attribute(address, "_block", "_RLock__block")


def _describe(objects: Reader, address: int, kind: str, near: Iterable[int]) -> LockObject:
    outer = next((one for one in near if one != address and inner(objects, one) == address), None)
    owner = objects.attribute(outer, "_owner", "_RLock__owner") if outer else None
    return LockObject(
        address=address,
        kind=f"greenlet-{'rlock' if owner else kind}",
        type=objects.type_name(outer or address),
        maximum=_initial(objects, address),
        # The greenlet itself, or, in the standard library's class, its number: that is its address.
        owner_ident=(objects.integer(owner) or owner) if owner else None,
        waiters=tuple(sorted(waiting(objects, address))),
    )


def _initial(objects: Reader, address: int) -> int | None:
    """How many may have a BoundedSemaphore: the last field of its C struct, if it makes sense."""
    own = objects.type_of(address)
    for one in objects.elements_of_tuple(own.order) if own else ():
        kind = objects.types.at(one)
        if kind and kind.name.rpartition(".")[2] == "BoundedSemaphore":
            number = objects.memory.int32(address + kind.basic - 8)
            return number if number is not None and 0 < number < _MOST_PLACES else None
    return None


def waiting(objects: Reader, address: int) -> frozenset[int]:
    """Return everything that an object will go on with once it is set, released, filled or ended."""
    own = objects.type_of(address)
    if own is None:
        return frozenset()
    words = objects.memory.words(address + 16, (min(own.basic, _LARGEST) - 16) // 8)
    lists = (word for word in (*words, *_attributes(objects, address)) if _is_list(objects, word))
    elements = (one for each in lists for one in objects.elements(each, _MOST))
    return frozenset(one for element in elements for one in _goes_on(objects, element))


def _attributes(objects: Reader, address: int) -> Iterable[int]:
    return objects.attributes(address).values()


def _is_list(objects: Reader, word: int) -> bool:
    return word % 8 == 0 and word >= 1 << 16 and objects.is_a(word, *_LISTS)


def _goes_on(objects: Reader, callback: int) -> Iterator[int]:
    """Yield a callable's self, and what that holds: a Waiter holds the greenlet it will switch to."""
    own = callback
    if objects.is_a(callback, *_METHODS):
        own = objects.attribute(callback, "__self__", "im_self") or callback
    elif objects.is_a(callback, _IN_C):
        own = objects.memory.word(callback + _C_SELF) or callback
    yield own
    if not objects.is_a(own, *greenlets.GREENLET):
        yield from objects.memory.words(own + 16, _WAITER_WORDS)


def timed(objects: PyObjects) -> frozenset[int] | None:
    """Return what timers will switch to, or throw a Timeout into; None where timers cannot be read."""
    kinds = [kind for place in _TIMERS if (kind := objects.module_global(*place))]
    if not kinds:
        return None
    found: set[int] = set()
    for timer in (one for kind in kinds for one in instances.of(objects, kind, _MOST)):
        own = objects.type_of(timer)
        size = (min(own.basic, _LARGEST) - 16) // 8 if own else 0
        for word in (*objects.memory.words(timer + 16, size), *_attributes(objects, timer)):
            if word % 8 or word < 1 << 16:
                continue
            if objects.is_a(word, *_METHODS, _IN_C):
                found.update(_goes_on(objects, word))
            elif objects.is_a(word, "tuple"):  # arguments: a Timeout is told there whom to throw itself into
                found.update(one for each in objects.elements(word, _MOST) for one in _goes_on(objects, each))
    return frozenset(found)
