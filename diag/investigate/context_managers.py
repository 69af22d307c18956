"""The locks behind what a thread has entered by ``with``, where that is not a lock but leads to one.

A generator of contextlib stands inside the lock itself; an ExitStack knows what it will leave; an object
of the program's own takes in its ``__enter__`` the lock that it keeps in an attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames
from diag.model.facts import Frame, Local, Stack
from diag.waits.lock_sites import taken_by
from diag.waits.python_locks import Held, held_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_memory import LockMemory

_GENERATOR = "contextlib._GeneratorContextManager"
_OLD_GENERATOR = "contextlib.GeneratorContextManager"  # 2.7
_STACK = ("contextlib.ExitStack", "contextlib._BaseExitStack", "contextlib2.ExitStack")
_DEEPEST = 4
_MOST = 100
_METHODS = ("method", "instancemethod", "builtin_function_or_method")
_SELF = 24  # PyMethodObject.im_self, PyCFunctionObject.m_self


def resolve(inquiry: Inquiry, memory: LockMemory, found: Iterable[Held]) -> Iterator[Held]:
    """Yield what is held, and what is held by way of it; frames and lines stay as they are."""
    objects = memory.objects
    for held in found:
        address = memory.address(held.name) if held.name else None
        if objects is None or not address:
            yield held
            continue
        if not objects.is_a(address, _GENERATOR, _OLD_GENERATOR, *_STACK):
            yield held  # those are no locks, whatever is called like one in their methods
        if held.site.how == "each":
            each, now = objects.elements(address, _MOST), held.site.address
            before = each[: each.index(now)] if now in each else each
            yield from (held._replace(name=("object", one, "")) for one in before)
        elif held.site.how == "with":
            yield from _behind(inquiry, objects, held, address, _DEEPEST)


def _behind(inquiry: Inquiry, objects: PyObjects, held: Held, address: int, depth: int) -> Iterator[Held]:
    if depth == 0:
        return
    if objects.is_a(address, _GENERATOR, _OLD_GENERATOR):
        found: Iterable[Held] = _in_generator(inquiry, objects, held, objects.attribute(address, "gen") or 0)
    elif objects.is_a(address, *_STACK):
        found = [held._replace(name=("object", one, "")) for one in _left_by(objects, address)]
    else:
        found = _attributes(inquiry, objects, held, address)
    for one in found:
        yield one
        if one.name and one.name[0] == "object":
            yield from _behind(inquiry, objects, one, int(one.name[1]), depth - 1)


def _in_generator(inquiry: Inquiry, objects: PyObjects, held: Held, generator: int) -> Iterator[Held]:
    """What the suspended generator of a @contextmanager function holds where it yields."""
    frame = frames.generator_frame(objects, generator)
    if frame is None:
        return
    seen = frames.describe(objects, frame)
    one = Frame(
        function=seen.where.function,
        file=seen.where.file,
        line=seen.where.line,
        locals=tuple(
            Local(name=name, value=f"<{kind.type} at {address:#x}>", address=address)
            for name, address in seen.locals
            if (kind := objects.look(address))
        ),
    )
    stack = Stack(pid=objects.pid, tid=None, thread=None, frames=(one,))
    for inner in held_by(stack, inquiry.sources(stack)):
        yield held._replace(name=inner.name)  # the line that entered it tells the reader more


def _left_by(objects: PyObjects, address: int) -> Iterator[int]:
    """What an ExitStack will leave: the objects of the methods that it will call."""
    callbacks = objects.attribute(address, "_exit_callbacks")
    for one in objects.elements(callbacks, _MOST) if callbacks else ():
        pair = objects.elements_of_tuple(one)  # (is_sync, callback); before 3.7 the callback alone
        call = pair[-1] if pair else one
        own = objects.attribute(call, "__self__")  # 3.6: a function that has it among its attributes
        if objects.is_a(call, *_METHODS):
            own = objects.memory.word(call + _SELF)
        if own and objects.type_of(own) is not None:
            yield own


def _attributes(inquiry: Inquiry, objects: PyObjects, held: Held, address: int) -> Iterator[Held]:
    """The locks that the __enter__ of an object's class takes and leaves taken: ``self._lock.acquire()``."""
    enter = objects.class_attribute(address, "__enter__")
    where = frames.function_where(objects, enter) if enter else None
    if where is None:
        return
    stack = Stack(
        pid=objects.pid, tid=None, thread=None,
        frames=(Frame(function=where.function, file=where.file, line=where.line),),
    )  # fmt: skip
    source = inquiry.sources(stack).get(where.file)
    for path in taken_by(source, where.function, where.line) if source else ():
        yield held._replace(name=("attribute", address, path))
