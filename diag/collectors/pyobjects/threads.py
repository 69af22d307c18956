"""Threads as ``threading`` knows them: ``threads(objects)`` reads ``threading._active``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames, locks
from diag.collectors.pyobjects.c_locks import join_words
from diag.model.pyobjects import ThreadObject

if TYPE_CHECKING:
    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader

MOST_THREADS = 10_000


def threads(objects: PyObjects) -> tuple[ThreadObject, ...]:
    """Read every thread that runs now and that ``threading`` knows."""
    active = objects.module_global("threading", "_active")
    pairs = objects.items(active)[:MOST_THREADS] if active else ()
    found = (thread(objects, one) for _, one in pairs)
    return tuple(one for one in found if one)


def thread(objects: Reader, address: int) -> ThreadObject | None:
    """Read one threading.Thread; None when it is none."""
    if not objects.is_a(address, "threading.Thread"):
        return None
    name = objects.attribute(address, "_name", "_Thread__name")
    target = objects.attribute(address, "_target", "_Thread__target")
    where = frames.function_where(objects, target) if target else None
    return ThreadObject(
        address=address,
        name=(objects.text(name) if name else None) or "",
        ident=objects.integer(objects.attribute(address, "_ident", "_Thread__ident")),
        tid=objects.integer(objects.attribute(address, "_native_id")),
        daemon=objects.truth(objects.attribute(address, "_daemonic", "_Thread__daemonic")),
        alive=_alive(objects, address),
        join_words=join_words(objects, address),
        target=str(where) if where else None,
    )


def _alive(objects: Reader, address: int) -> bool | None:
    """Whether a thread has begun and not ended; None from 3.13 on, where C alone knows."""
    stopped = objects.truth(objects.attribute(address, "_is_stopped", "_Thread__stopped"))
    started = objects.attribute(address, "_started", "_Thread__started")
    begun = locks.describe(objects, started) if started else None
    if stopped is None or begun is None:
        return None
    return bool(begun.count) and not stopped
