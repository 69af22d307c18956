"""The instance dictionary, in whichever form an interpreter keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import containers
from diag.collectors.pyobjects.layouts import FLAG_INLINE_VALUES, FLAG_MANAGED_DICT, FLAG_TYPE

if TYPE_CHECKING:
    from diag.collectors.pyobjects.reader import Reader
    from diag.collectors.pyobjects.types import Type


def is_old_instance(kind: Type) -> bool:
    """Whether an object is an instance of an old-style class of 2.7 {class 16, dict 24}."""
    return kind.name == "instance" and not kind.on_heap


def instance_pairs(reader: Reader, address: int, kind: Type) -> containers.Pairs:
    """Read (name, value) addresses of an object's own attributes, slots left out; of a class, its own."""
    if kind.flags & FLAG_TYPE:
        own = reader.types.at(address)
        return reader.items(own.dictionary) if own else ()
    if is_old_instance(kind):
        return reader.items(reader.memory.word(address + 24) or 0)
    if kind.flags & FLAG_MANAGED_DICT and reader.layout.managed:
        return _managed_pairs(reader, address, kind)
    return reader.items(_pointed_to(reader, address, kind))


def _pointed_to(reader: Reader, address: int, kind: Type) -> int:
    """Read the pointer at tp_dictoffset, which counts from the end where it is negative."""
    offset = kind.dict_offset
    if offset < 0 and kind.item:
        size = reader.memory.read(address + 16, 8)
        count = abs(int.from_bytes(size, "little", signed=True)) if size else 0
        offset += (kind.basic + count * kind.item + 7) & ~7
    if not 16 <= offset < 1 << 24:
        return 0
    return reader.memory.word(address + offset) or 0


def _managed_pairs(reader: Reader, address: int, kind: Type) -> containers.Pairs:
    """Read attributes that lie before the object: 3.11 values and dict, 3.12 one of both; 3.13: behind it."""
    layout, memory = reader.layout, reader.memory
    keys = memory.word(kind.address + layout.cached_keys) or 0
    if layout.managed == "inline" and kind.flags & FLAG_INLINE_VALUES:
        head = memory.read(address + kind.basic, 8)
        if head and head[3]:  # PyDictValues.valid
            return containers.shared(memory, layout, keys, address + kind.basic + layout.values_at)
    values, pointer = memory.words(address - 32, 2) or (0, 0)
    if layout.managed == "tagged":
        values = pointer + 1 if pointer & 1 else 0
    elif layout.managed == "inline":
        values = 0
    if values:
        return containers.shared(memory, layout, keys, values)
    return reader.items(pointer)
