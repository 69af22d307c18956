"""What a callback is about: the futures and tasks that it holds in its closure, its arguments or its self.

The end of a task completes whatever waits for it by way of such a callback: ``gather``, ``wait``,
``shield``, task groups, ``run_coroutine_threadsafe`` all keep the future to be completed there, each
version in its own way; so it is asked what a callback holds, and not which one it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.collectors.pyobjects.reader import Reader

MOST = 64
"""Objects that one callback may hold."""
_METHODS = ("method", "instancemethod")
_IN_C = ("builtin_function_or_method",)
_DEPTH = 3
_C_SELF = 24  # PyCFunctionObject.m_self
_WRAPPED = ("TaskStepMethWrapper", "TaskWakeupMethWrapper", "_asyncio.TaskStepMethWrapper")
"""What _asyncio calls to let a task go on: {task 16}."""


def held(objects: Reader, callables: Iterable[int], depth: int = _DEPTH) -> frozenset[int]:
    """Return the addresses of all that some callables hold, one step into the attributes of a self."""
    return frozenset(one for callback in callables for one in _held(objects, callback, depth))


def _held(objects: Reader, callback: int, depth: int) -> Iterator[int]:
    if depth == 0:
        return
    if objects.is_a(callback, "function"):
        closure = objects.attribute(callback, "__closure__", "func_closure")
        for cell in objects.elements_of_tuple(closure)[:MOST] if closure else ():
            if target := objects.target(cell):
                yield from _with_inner(objects, target, depth)
    elif objects.is_a(callback, "functools.partial"):
        function, arguments = objects.attribute(callback, "func"), objects.attribute(callback, "args")
        yield from _held(objects, function, depth - 1) if function else ()
        for one in objects.elements_of_tuple(arguments)[:MOST] if arguments else ():
            yield from _with_inner(objects, one, depth)
    elif objects.is_a(callback, *_METHODS):
        own = objects.attribute(callback, "__self__", "im_self")
        yield from _self(objects, own)
    elif objects.is_a(callback, *_IN_C):
        yield from _self(objects, objects.memory.word(callback + _C_SELF))
    elif objects.is_a(callback, *_WRAPPED):
        yield objects.memory.word(callback + 16) or 0


def _self(objects: Reader, address: int | None) -> Iterator[int]:
    """Yield an object and its attributes: a task group keeps what its end completes as one of them."""
    if not address:
        return
    yield address
    yield from list(objects.attributes(address).values())[:MOST]


def _with_inner(objects: Reader, address: int, depth: int) -> Iterator[int]:
    yield address
    yield from _held(objects, address, depth - 1)
