"""Objects of another process: type, attributes, elements and plain values, all by address.

Everything answers None or nothing for what cannot be read or makes no sense; nothing raises.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from diag.collectors.pyobjects import containers, scalars
from diag.collectors.pyobjects.attributes import instance_pairs, is_old_instance
from diag.collectors.pyobjects.layouts import (
    FLAG_BYTES,
    FLAG_DICT,
    FLAG_INT_OLD,
    FLAG_LIST,
    FLAG_LONG,
    FLAG_TUPLE,
    FLAG_TYPE,
    FLAG_UNICODE,
    Layout,
)
from diag.collectors.pyobjects.types import MOST_BASES, OBJECT_KINDS, SMALL_KINDS, Type, Types
from diag.collectors.pyobjects.values import PLAIN_DEPTH, plain
from diag.model.pyobjects import Object

if TYPE_CHECKING:
    from diag.collectors.pyobjects.memory import Memory
    from diag.model.facts import Where

SETS = ("set", "frozenset")
DEQUE = "collections.deque"
OLD_CLASS = "classobj"
_WRAPPING = ("weakref", "weakref.ReferenceType", "weakref.weakref", "weakref.KeyedRef", "cell")


class Reader:
    """Reads objects by the rules of one layout."""

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.memory = memory
        self.layout = layout
        self.types = Types(memory)
        self.wide = True  # 2.7: unicode has four bytes a character
        self.bytes_data = 36 if layout.version < (3,) else 32  # where the data of bytes begin
        self._names: dict[int, tuple[str, ...]] = {}
        self._texts: dict[int, str | None] = {}
        self.places: dict[tuple[int, int | None], Where] = {}  # (code, offset), for ``frames``
        self.variables: dict[int, tuple[str | None, ...]] = {}  # by code, for ``frames``

    def forget(self) -> None:
        """Read objects anew from now on; types and names of attributes stay known."""
        self.memory.forget()

    # -- types

    def type_of(self, address: int) -> Type | None:
        """The type of the object at an address; None when there is none."""
        if address % 8 or (pointer := self.memory.word(address + 8)) is None:
            return None
        return self.types.at(pointer)

    def look(self, address: int) -> Object | None:
        """What is at an address; None when it is no object."""
        kind = self.type_of(address)
        return Object(address=address, type=kind.name, type_address=kind.address) if kind else None

    def type_name(self, address: int) -> str:
        """The class of an object with its module, such as ``threading.Condition``; "" when unreadable."""
        return next(iter(self.class_names(address)), "")

    def class_names(self, address: int) -> tuple[str, ...]:
        """The classes of an object in the order of inheritance: its own first, ``object`` last."""
        kind = self.type_of(address)
        if kind is None:
            return ()
        if is_old_instance(kind):
            return self._old_names(self.memory.word(address + 16) or 0)
        return self.names_of(kind)

    def names_of(self, kind: Type) -> tuple[str, ...]:
        """The names of a type and its ancestors."""
        if kind.address not in self._names:
            order = self.elements_of_tuple(kind.order)[:MOST_BASES] or (kind.address,)
            found = (self.types.at(one) for one in order)
            self._names[kind.address] = tuple(self._qualified(one) for one in found if one)
        return self._names[kind.address]

    def is_a(self, address: int, *names: str) -> bool:
        """Whether an object is an instance of one of these classes or of a subclass."""
        return not set(names).isdisjoint(self.class_names(address))

    def _qualified(self, kind: Type) -> str:
        if "." in kind.name or not kind.on_heap:
            return kind.name
        module = self.find(kind.dictionary, "__module__")
        prefix = self.text(module) if module else None
        return f"{prefix}.{kind.name}" if prefix else kind.name

    def _old_names(self, address: int) -> tuple[str, ...]:
        """Names of an old-style class of 2.7 {bases 16, dict 24, name 32} and of its bases."""
        found, waiting = [], [address]
        seen: set[int] = set()
        while waiting and len(seen) < MOST_BASES:
            one = waiting.pop(0)
            if one in seen:
                continue
            seen.add(one)
            bases, members, name = self.memory.words(one + 16, 3) or (0, 0, 0)
            kind = self.type_of(one)
            text = self.text(name) if kind and kind.name == OLD_CLASS else None
            if text is None:
                continue
            module = self.find(members, "__module__")
            found.append(f"{self.text(module)}.{text}" if module else text)
            waiting.extend(self.elements_of_tuple(bases))
        return tuple(found)

    # -- attributes

    def attributes(self, address: int) -> dict[str, int]:
        """The attributes an object has itself: its dictionary and its slots."""
        kind = self.type_of(address)
        if kind is None:
            return {}
        found: dict[str, int] = {}
        for member in self.types.members(kind) if not kind.flags & FLAG_TYPE else ():
            if member.kind in OBJECT_KINDS and (value := self.memory.word(address + member.offset)):
                found.setdefault(member.name, value)
        for key, value in instance_pairs(self, address, kind):
            if (name := self.text(key)) is not None:
                found[name] = value
        return found

    def attribute(self, address: int, *names: str) -> int | None:
        """Address of the first of these attributes that an object has itself (2.7 mangles some names)."""
        kind = self.type_of(address)
        if kind is None:
            return None
        pairs = instance_pairs(self, address, kind)
        for name in names:
            for key, value in pairs:
                if self.text(key) == name:
                    return value
            for member in self.types.members(kind):
                if member.name == name and member.kind in OBJECT_KINDS:
                    return self.memory.word(address + member.offset) or None
        return None

    def class_attribute(self, address: int, name: str) -> int | None:
        """Address of an attribute that an object's class or one of its ancestors has."""
        kind = self.type_of(address)
        for one in self.elements_of_tuple(kind.order)[:MOST_BASES] if kind else ():
            ancestor = self.types.at(one)
            if ancestor and (found := self.find(ancestor.dictionary, name)):
                return found
        return None

    def field(self, address: int, name: str) -> int | None:
        """Read a number that a C type shows under this name (``co_firstlineno``, ``maxvalue``)."""
        kind = self.type_of(address)
        for member in self.types.members(kind) if kind else ():
            if member.name == name and member.kind in SMALL_KINDS:
                form = SMALL_KINDS[member.kind]
                data = self.memory.read(address + member.offset, struct.calcsize(form))
                return None if data is None else int(struct.unpack(form, data)[0])
        return None

    # -- containers

    def items(self, address: int) -> containers.Pairs:
        """The (key, value) addresses of a dict or a subclass; at most 10,000."""
        kind = self.type_of(address) if address else None
        if kind is None or not kind.flags & FLAG_DICT:
            return ()
        return containers.dictionary(self.memory, self.layout, address)

    def find(self, address: int, name: str) -> int | None:
        """Address of what a dict has under a text key."""
        return next((value for key, value in self.items(address) if self.text(key) == name), None)

    def named(self, address: int) -> dict[str, int]:
        """A dict with text keys, such as a module's: name -> address."""
        pairs = ((self.text(key), value) for key, value in self.items(address))
        return {name: value for name, value in pairs if name is not None}

    def elements_of_tuple(self, address: int) -> tuple[int, ...]:
        """The elements of a tuple; none when it is none."""
        kind = self.type_of(address) if address else None
        if kind is None or not kind.flags & FLAG_TUPLE:
            return ()
        return containers.sequence(self.memory, self.layout, address, is_tuple=True, most=containers.MOST)

    def elements(self, address: int, most: int = containers.MOST) -> tuple[int, ...]:
        """The elements of a list, tuple, set, frozenset or deque, or the keys of a dict."""
        kind = self.type_of(address)
        if kind is None:
            return ()
        if kind.flags & (FLAG_LIST | FLAG_TUPLE):
            is_tuple = bool(kind.flags & FLAG_TUPLE)
            return containers.sequence(self.memory, self.layout, address, is_tuple=is_tuple, most=most)
        if kind.flags & FLAG_DICT:
            return tuple(key for key, _ in self.items(address))[:most]
        names = self.names_of(kind)
        if DEQUE in names:
            return containers.deque(self.memory, self.layout, address, most)
        if not set(SETS).isdisjoint(names):
            found = containers.a_set(self.memory, self.layout, address)
            old = self.layout.dict_form == "table"
            return tuple(one for one in found if not old or self.text(one) != "<dummy key>")[:most]
        return ()

    def length(self, address: int) -> int | None:
        """What len() would say of a container or text, without reading what is in it."""
        kind = self.type_of(address)
        if kind is None:
            return None
        if kind.flags & FLAG_DICT:
            return containers.dictionary_length(self.memory, self.layout, address)
        names = self.names_of(kind)
        if DEQUE in names and self.layout.deque_form == "plain":
            offset = 48
        elif not set(SETS).isdisjoint(names):
            offset = 24
        elif DEQUE in names or kind.flags & (FLAG_LIST | FLAG_TUPLE | FLAG_BYTES | FLAG_UNICODE):
            offset = 16
        else:
            return None
        size = self.memory.word(address + offset)
        return size if size is not None and size < 1 << 40 else None

    def target(self, address: int) -> int | None:
        """What a weak reference or a cell refers to; None when it is dead, empty or something else."""
        if not self.is_a(address, *_WRAPPING):
            return None
        pointer = self.memory.word(address + 16)
        kind = self.type_of(pointer) if pointer else None
        return pointer if kind and kind.name != "NoneType" else None

    # -- plain values

    def text(self, address: int) -> str | None:
        """Read a str (2.7: str or unicode); None when it is none. Names do not change, so once is enough."""
        if address not in self._texts:
            self._texts[address] = self._read_text(address)
        return self._texts[address]

    def _read_text(self, address: int) -> str | None:
        head = self.memory.some(address, scalars.FIRST_LOOK)  # type and, mostly, all of the text
        kind = self.types.at(int.from_bytes(head[8:16], "little")) if address % 8 == 0 else None
        if kind is None:
            return None
        if kind.flags & FLAG_UNICODE:
            if self.layout.dict_form == "table":
                return scalars.old_unicode(self.memory, address, wide=self.wide)
            return scalars.text(self.memory, self.layout, address)
        if kind.flags & FLAG_BYTES and self.layout.dict_form == "table":
            data = scalars.some_bytes(self.memory, address, self.bytes_data)
            return None if data is None else data.decode("utf-8", "replace")
        return None

    def integer(self, address: int | None) -> int | None:
        """Read an int, long or bool; None when it is none."""
        kind = self.type_of(address) if address else None
        if kind is None or address is None:
            return None
        if kind.flags & FLAG_INT_OLD and self.layout.dict_form == "table":
            return scalars.old_integer(self.memory, address)
        if kind.flags & FLAG_LONG:
            return scalars.integer(self.memory, self.layout, address)
        return None

    def truth(self, address: int | None) -> bool | None:
        """Read a bool; None when it is none."""
        kind = self.type_of(address) if address else None
        return bool(self.integer(address)) if kind and kind.name == "bool" else None

    def is_none(self, address: int | None) -> bool:
        """Whether an object is None."""
        kind = self.type_of(address) if address else None
        return kind is not None and kind.name == "NoneType"

    def value(self, address: int, depth: int = PLAIN_DEPTH, most: int = 100) -> Any:
        """Read a plain value whole: None, bool, int, float, str, bytes, tuple, list, set, dict.

        What is no plain value, lies too deep or comes again inside itself stays an ``Object``; what
        cannot be read is None. At most ``most`` elements of each container, ten times that in all.
        """
        return plain(self, address, depth, most)
