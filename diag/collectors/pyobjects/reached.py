"""Whether variables of a program still lead to objects that were freed: a look at what is within their reach.

Whatever a variable, list, tuple, dict, set or instance leads to has a count of at least one and a type. Where
the memory of something says otherwise, it was freed though somebody has it: no Python code can do that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects.attributes import instance_pairs
from diag.collectors.pyobjects.layouts import FLAG_DICT, FLAG_LIST, FLAG_TUPLE, FLAG_TYPE, TYPE_SIZE
from diag.collectors.pyobjects.memory import HIGHEST
from diag.model.damage import Freed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.types import Type

MOST = 2000
"""Objects looked at; measured: 15 µs each, and one that was freed was always among the first hundreds."""
FEW = 400
_EACH = 200
"""Of one container."""
_DEEPEST = 5
_FOUND = 3


class _Step(NamedTuple):
    """An object and how one comes to it."""

    address: int
    variable: str
    through: tuple[str, ...]  # types of what leads to it


def freed(objects: PyObjects, variables: Iterable[tuple[str, int]], most: int = MOST) -> list[Freed]:
    """Follow ``variables`` (what it is, in words; address), those nearest to the fault first.

    ``most``: objects that are looked at.
    """
    found: list[Freed] = []
    waiting = deque(_Step(address, name, ()) for name, address in variables)
    seen: set[int] = set()
    mapped = _Mapped(objects)
    while waiting and len(seen) < most and len(found) < _FOUND:
        step = waiting.popleft()
        if step.address in seen:
            continue
        seen.add(step.address)
        kind = objects.type_of(step.address)
        why = _wrong(objects, step.address, kind, mapped)
        if why:
            through = f", through {' and '.join(f'a {one}' for one in step.through)}" if step.through else ""
            where = f"{step.variable}{through}"
            found.append(Freed(where=where, address=step.address, text=why))
        elif kind and len(step.through) < _DEEPEST:
            inside = _inside(objects, step.address, kind)
            waiting.extend(_Step(one, step.variable, (*step.through, kind.name)) for one in inside)
    return found


class _Mapped:
    """Whether anything is mapped at an address: only then may it be that a core merely leaves it out."""

    def __init__(self, objects: PyObjects) -> None:
        self._maps = sorted((one.start, one.end) for one in objects.maps)

    def at(self, address: int) -> bool:
        number = bisect_right(self._maps, (address, HIGHEST)) - 1
        return number >= 0 and address < self._maps[number][1]


def _wrong(objects: PyObjects, address: int, kind: Type | None, mapped: _Mapped) -> str:
    """Say what cannot be true of what is at an address; "" where nothing is, or it cannot be read."""
    words = objects.memory.words(address, 2) if not address % 8 else ()
    if len(words) < 2:
        return "" if mapped.at(address) else "nothing is mapped there"
    count, pointer = words
    if kind is None:
        if not pointer % 8 and mapped.at(pointer) and objects.memory.read(pointer, TYPE_SIZE) is None:
            return ""
        return f"no object is there any more: its type would be {pointer:#x}, which is none"
    if objects.version >= (3, 14):
        return ""
    if objects.version >= (3, 12) and not count >> 32:
        return "" if count else "its count is 0, though somebody has it"
    signed = count - (1 << 64) if count >> 63 else count
    if signed <= 0:
        return f"its count is {signed}, though somebody has it"
    if count >= 1 << 32 and not count % 8 and mapped.at(count):
        return "it was freed: where its count was stands the link of a free list"
    return ""


def _inside(objects: PyObjects, address: int, kind: Type) -> Iterator[int]:
    if kind.flags & FLAG_TYPE or kind.name == "module":
        return
    if kind.flags & FLAG_DICT:
        for key, value in objects.items(address)[:_EACH]:
            yield key
            yield value
        return
    if kind.flags & (FLAG_LIST | FLAG_TUPLE) or kind.name in ("set", "frozenset"):
        yield from objects.elements(address, _EACH)
    if kind.on_heap or kind.dict_offset:
        for _, value in instance_pairs(objects, address, kind)[:_EACH]:
            yield value
