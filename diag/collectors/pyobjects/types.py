"""Types of another process: name, flags, ancestors, and the attributes that they declare themselves."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects.layouts import (
    FLAG_HEAP,
    FLAG_TYPE,
    TYPE_BASE,
    TYPE_BASIC,
    TYPE_DICT,
    TYPE_DICT_OFFSET,
    TYPE_FLAGS,
    TYPE_MEMBERS,
    TYPE_MRO,
    TYPE_NAME,
    TYPE_SIZE,
)

if TYPE_CHECKING:
    from diag.collectors.pyobjects.memory import Memory

MOST_MEMBERS = 256
MOST_BASES = 64
LARGEST_OBJECT = 1 << 16
"""Bytes of a fixed part; the largest in CPython's own types is under 1,200."""

_MEMBER_SIZE = 40  # PyMemberDef: name, type (int), offset, flags (int), doc
OBJECT_KINDS = (6, 16)  # T_OBJECT, T_OBJECT_EX
SMALL_KINDS = {
    0: "<h", 1: "<i", 2: "<q", 8: "<b", 9: "<B", 10: "<H", 11: "<I", 12: "<Q", 14: "<B", 17: "<q", 18: "<Q",
    19: "<q",
}  # fmt: skip
"""T_SHORT, T_INT … T_PYSSIZET of descrobject.h, as struct spells them."""


class Member(NamedTuple):
    """One attribute at a fixed place: a slot, or a field that a C type shows."""

    name: str
    kind: int
    offset: int


class Type(NamedTuple):
    """One type object."""

    address: int
    name: str
    basic: int
    item: int
    flags: int
    base: int
    dictionary: int
    dict_offset: int
    members: int
    order: int  # the tuple of its ancestors (tp_mro)

    @property
    def on_heap(self) -> bool:
        """Whether it was made at run time: by a class statement, or from a specification in C."""
        return bool(self.flags & FLAG_HEAP)


class Types:
    """All types met so far. Types hardly ever change, so they are read once."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._types: dict[int, Type | None] = {}
        self._members: dict[int, tuple[Member, ...]] = {}

    def at(self, address: int) -> Type | None:
        """Read the type object at an address; None when there is none."""
        if address not in self._types:
            self._types[address] = self._read(address)
        return self._types[address]

    def _read(self, address: int) -> Type | None:
        if address % 8 or (data := self._memory.read(address, TYPE_SIZE)) is None:
            return None

        def word(offset: int) -> int:
            return int.from_bytes(data[offset : offset + 8], "little")

        basic, item = struct.unpack_from("<qq", data, TYPE_BASIC)
        if not (16 <= basic <= LARGEST_OBJECT and 0 <= item <= LARGEST_OBJECT):
            return None
        meta = self._memory.read(word(8) + TYPE_FLAGS, 8)
        if meta is None or not int.from_bytes(meta, "little") & FLAG_TYPE:
            return None
        name = self._memory.text(word(TYPE_NAME))
        if not name or not name.isprintable():
            return None
        return Type(
            address=address,
            name=name,
            basic=basic,
            item=item,
            flags=word(TYPE_FLAGS),
            base=word(TYPE_BASE),
            dictionary=word(TYPE_DICT),
            dict_offset=int(struct.unpack_from("<q", data, TYPE_DICT_OFFSET)[0]),
            members=word(TYPE_MEMBERS),
            order=word(TYPE_MRO),
        )

    def members(self, kind: Type) -> tuple[Member, ...]:
        """The slots and C fields of a type and its ancestors, its own first."""
        if kind.address not in self._members:
            found: list[Member] = []
            seen: set[int] = set()
            one: Type | None = kind
            while one and one.address not in seen and len(seen) < MOST_BASES:
                seen.add(one.address)
                found.extend(self._own_members(one))
                one = self.at(one.base) if one.base else None
            self._members[kind.address] = tuple(found)
        return self._members[kind.address]

    def _own_members(self, kind: Type) -> tuple[Member, ...]:
        found = []
        for at in range(MOST_MEMBERS if kind.members else 0):
            data = self._memory.read(kind.members + _MEMBER_SIZE * at, _MEMBER_SIZE)
            name, form, offset = struct.unpack_from("<QixxxxQ", data) if data else (0, 0, 0)
            text = self._memory.text(name) if name else None
            if text is None:
                break
            if 8 <= offset < kind.basic + 8 or (form in SMALL_KINDS and offset < kind.basic):
                found.append(Member(text, form, offset))
        return tuple(found)
