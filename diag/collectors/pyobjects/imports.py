"""The locks of the import system: one a module since 3.3, one for all before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import image, locks
from diag.model.pyobjects import LockObject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from diag.collectors.pyobjects import PyObjects

_CODE = 192  # bytes of a function that are searched for the variables it uses


def import_locks(objects: PyObjects) -> tuple[LockObject, ...]:
    """Read the module locks that exist now: somebody holds them or waits for them (3.3 and later)."""
    table = objects.module_global("_frozen_importlib", "_module_locks")
    found = []
    for _, reference in objects.items(table) if table else ():
        address = objects.target(reference)
        lock = locks.describe(objects, address) if address else None
        if lock and lock.kind == "module-lock":
            found.append(lock)
    return tuple(found)


def import_waits(objects: PyObjects) -> dict[int, int]:
    """Read which thread waits for which module lock: pthread ident -> address of the lock.

    ``_blocking_on`` {ident: lock}; from 3.12 on {ident: weak reference to [lock, …]}, whose last is the
    one waited for.
    """
    table = objects.module_global("_frozen_importlib", "_blocking_on")
    inside = objects.attribute(table, "data") if table else None
    found = {}
    for key, value in objects.items(inside or table or 0):
        ident = objects.integer(key)
        listed = objects.elements(objects.target(value) or value)
        if ident is not None:
            found[ident] = listed[-1] if listed else value
    return found


def old_import_lock(objects: PyObjects, word: int, idents: Collection[int]) -> LockObject | None:
    """Tell whether ``word``, on which a thread sleeps, is 2.7's lock for all imports, and who has it.

    ``_PyImport_AcquireLock`` uses three variables, none of them exported: the lock, its owner's ident
    and a depth. They are found by the function's own references (x86-64: relative to the instruction).
    """
    function = _function(objects, "_PyImport_AcquireLock") if objects.version < (3, 3) else None
    if function is None:
        return None
    values = [objects.memory.word(address) for address in _references(objects, function)]
    if word not in values:
        return None
    owner = next((value for value in values if value in idents), None)
    return LockObject(
        address=word,
        kind="import-lock",
        type="import lock",
        futex_words=(word,),
        locked=owner is not None,
        owner_ident=owner,
    )


def _function(objects: PyObjects, name: str) -> int | None:
    for mapping in image.candidates(objects.maps):
        loaded = image.load(objects.memory, mapping)
        if loaded and (address := image.symbol(objects.memory, loaded, name)):
            return address
    return None


def _references(objects: PyObjects, function: int) -> Iterator[int]:
    """Yield addresses of 8-byte variables that code may refer to: a ModRM byte of mode 0, base rip."""
    code = objects.memory.some(function, _CODE)
    for at in range(2, len(code) - 5):
        if code[at] & 0xC7 == 0x05:
            target = function + at + 5 + int.from_bytes(code[at + 1 : at + 5], "little", signed=True)
            if target % 8 == 0:
                yield target
            elif (target + 1) % 8 == 0:  # an immediate byte follows
                yield target + 1
