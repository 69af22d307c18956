"""asyncio's event loops: which thread runs one, what it is due to do later, what it watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import callbacks, frames
from diag.model.pyobjects import LoopObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects.reader import Reader
    from diag.model.facts import Where

MOST_TIMERS = 5000
_SOCKET_FD = 16  # PySocketSockObject.sock_fd
BASE = "asyncio.base_events.BaseEventLoop"
_OWN = "/asyncio/"


def describe(objects: Reader, address: int) -> LoopObject:
    """Read a loop; of one in C (uvloop) no more than its type is known."""
    kind = objects.type_name(address)
    if not objects.is_a(address, BASE):
        return LoopObject(address=address, type=kind, ident=None, timers=None)
    scheduled, ready = objects.attribute(address, "_scheduled"), objects.attribute(address, "_ready")
    due = objects.elements(scheduled, MOST_TIMERS) if scheduled else ()
    handles = [one for one in due if not objects.truth(objects.attribute(one, "_cancelled"))]
    return LoopObject(
        address=address,
        type=kind,
        ident=objects.integer(objects.attribute(address, "_thread_id")),
        timers=len(handles) if scheduled else None,
        timed=frozenset(one for handle in handles for one in _about(objects, handle)),
        ready=objects.length(ready) if ready else None,
        watched=_watched(objects, address),
        calls=tuple(dict.fromkeys(place for one in handles if (place := _called(objects, one)))),
    )


def _about(objects: Reader, handle: int) -> Iterator[int]:
    """Yield what a handle was made for: its callback's objects and its arguments."""
    callback, arguments = objects.attribute(handle, "_callback"), objects.attribute(handle, "_args")
    if callback:
        yield from callbacks.held(objects, (callback,))
    if arguments:
        yield from objects.elements(arguments, callbacks.MOST)


def _called(objects: Reader, handle: int) -> Where | None:
    """The function that a handle will call; None for what asyncio itself wants to have done later."""
    callback = objects.attribute(handle, "_callback")
    place = frames.function_where(objects, callback) if callback else None
    return place if place and _OWN not in place.file else None


def _watched(objects: Reader, loop: int) -> tuple[int, ...] | None:
    """The descriptors in the loop's selector, but for the socket by which other threads wake it."""
    selector, own = objects.attribute(loop, "_selector"), objects.attribute(loop, "_ssock")
    table = objects.attribute(selector, "_fd_to_key") if selector else None
    if table is None:
        return None
    wakes = objects.memory.int32(own + _SOCKET_FD) if own else None
    found = (objects.integer(key) for key, _ in objects.items(table))
    return tuple(fd for fd in found if fd is not None and fd != wakes)
