"""Greenlets (gevent, eventlet): every one of a process, its parent and the frames it would go on with.

No list of them exists, so memory is searched for objects of their types. Their C struct is no
interface (greenlet 1 keeps everything in the object, 2 and 3 in a C++ object behind it), so its fields
are told by what they point to. A greenlet that runs, has ended or has not begun has no frames.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import frames, instances
from diag.collectors.pyobjects.memory import Shifted
from diag.model.pyobjects import GreenletObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader
    from diag.model.pyobjects import TaskFrame

MOST = 5000
GREENLET = ("greenlet.greenlet", "greenlet")
HUB = "gevent.hub.Hub"
_OLD_FIELDS, _NEW_FIELDS = 14, 24  # words of greenlet 1's C struct, of greenlet 2's C++ object
_LARGEST_STACK = 8 << 20
_INNERMOST = 4096  # bytes of a saved C stack in which what it waits for is looked for
_FRAME_OBJECT_FRAME = 24  # PyFrameObject.f_frame, 3.11 and later


def greenlets(objects: PyObjects) -> tuple[GreenletObject, ...]:
    """Read every greenlet of a process; none where no greenlet module is imported."""
    kind = objects.module_global("greenlet", "greenlet")
    found = instances.of(objects, kind, MOST) if kind else ()
    return tuple(one for address in found if (one := greenlet(objects, address)))


def greenlet(objects: Reader, address: int) -> GreenletObject | None:
    """Read one greenlet; None when it is none."""
    if not objects.is_a(address, *GREENLET):
        return None
    fields = _fields(objects, address)
    return GreenletObject(
        address=address,
        type=objects.type_name(address),
        parent=fields.parent,
        frames=_frames(objects, fields.words),
        is_hub=objects.is_a(address, HUB),
    )


class _Fields(NamedTuple):
    """The fields of a greenlet up to its relatives, and its parent."""

    words: Sequence[int] = ()
    parent: int | None = None


def _fields(objects: Reader, address: int) -> _Fields:
    words = objects.memory.words(address + 16, _OLD_FIELDS)
    if _stack(words[:4]):  # greenlet 1: {stack start, stop, copy, saved, previous, parent, …, frame}
        return _Fields(words, _greenlet_in(objects, words, 5))
    inside = objects.memory.words(words[2], _NEW_FIELDS) if words else ()
    if address not in inside:
        return _Fields()
    # What a greenlet knows of others comes last: {itself (to 3.0), main, what it runs, parent}.
    at = next((at for at in range(4, len(inside)) if _greenlet_in(objects, inside, at)), 0)
    if inside[at] == address:
        has_parent = _greenlet_in(objects, inside, at + 1) is not None
        return _Fields(inside[:at], _greenlet_in(objects, inside, at + 3) if has_parent else None)
    return _Fields(inside[:at], _greenlet_in(objects, inside, at + 2))


def _greenlet_in(objects: Reader, words: Sequence[int], at: int) -> int | None:
    word = words[at] if at < len(words) else 0
    return word if word % 8 == 0 and word >= 1 << 16 and objects.is_a(word, *GREENLET) else None


def _frames(objects: Reader, words: Sequence[int]) -> tuple[TaskFrame, ...]:
    """Find the frame to go on with among the fields of a greenlet, and those that called it."""
    pointers = (word for word in words if word % 8 == 0 and word >= 1 << 16)
    start = next((word for word in pointers if objects.is_a(word, "frame")), 0)
    if start and not objects.layout.has_frame_object:
        start = objects.memory.word(start + _FRAME_OBJECT_FRAME) or 0
    return tuple(frames.back_chain(_own_view(objects, words), start)) if start else ()


def pointers(objects: Reader, address: int) -> tuple[int, ...]:
    """Return what may be addresses of objects on the C stack of a switched-out greenlet, innermost first."""
    words = _fields(objects, address).words
    saved = next((words[at : at + 4] for at in range(len(words) - 3) if _stack(words[at : at + 4])), None)
    if saved is None:
        return ()
    start, stop = saved[0], min(saved[1], saved[0] + _INNERMOST)
    memory = _own_view(objects, words).memory
    found: dict[int, None] = {}
    for place in range(start, stop, 8):
        word = memory.word(place)
        if word is None:
            break
        if word % 8 == 0 and 1 << 16 <= word < 1 << 56 and not start <= word < stop:
            found[word] = None
    return tuple(found)


def _own_view(objects: Reader, words: Sequence[int]) -> Reader:
    """See memory as a switched-out greenlet does: part of its C stack has been copied to the heap.

    Greenlet keeps {stack_start, stack_stop, copy, bytes copied} side by side; from 3.12 on, frames
    are chained through the C stack.
    """
    for at in range(len(words) - 3):
        if _stack(words[at : at + 4]):
            start, _, kept, size = words[at : at + 4]
            view = copy.copy(objects)
            view.memory = Shifted(objects.memory, start, size, kept)
            return view
    return objects


def _stack(words: Sequence[int]) -> bool:
    """Whether four words describe a saved C stack; that of the main greenlet has no end."""
    if len(words) < 4:
        return False
    start, stop, kept, size = words
    is_range = 1 << 32 < start < min(stop, 1 << 56) and 0 < size <= min(stop - start, _LARGEST_STACK)
    return is_range and kept % 8 == 0 and 1 << 16 < kept < 1 << 56
