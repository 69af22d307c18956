"""Numbers and texts: from an address to a Python value, bounded."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.collectors.pyobjects.layouts import Layout
    from diag.collectors.pyobjects.memory import Memory

LONGEST_TEXT = 4096
"""Characters of one text that are read."""
_MOST_DIGITS = 64
FIRST_LOOK = 64
"""Bytes read at once of a text: header and a short name, mostly all of it."""


def integer(memory: Memory, layout: Layout, address: int) -> int | None:
    """Read an int (2.7: a long); None when it has more than 1,920 bits."""
    if layout.int_tagged:
        tag = memory.word(address + 16)
        if tag is None:
            return None
        count, sign = tag >> 3, (1, 0, -1, 1)[tag & 3]
    else:
        data = memory.read(address + 16, 8)
        if data is None:
            return None
        size = int.from_bytes(data, "little", signed=True)
        count, sign = abs(size), -1 if size < 0 else 1
    if count > _MOST_DIGITS:
        return None
    digits = memory.read(address + layout.int_digits, 4 * count) if count and sign else b""
    if digits is None:
        return None
    total = 0
    for at, (digit,) in enumerate(struct.iter_unpack("<I", digits)):
        total += int(digit) << 30 * at
    return sign * total


def old_integer(memory: Memory, address: int) -> int | None:
    """Read an int of 2.7: a C long."""
    data = memory.read(address + 16, 8)
    return None if data is None else int.from_bytes(data, "little", signed=True)


def real(memory: Memory, address: int) -> float | None:
    """Read a float."""
    data = memory.read(address + 16, 8)
    return None if data is None else float(struct.unpack("<d", data)[0])


def text(memory: Memory, layout: Layout, address: int) -> str | None:
    """Read a str of Python 3, at most ``LONGEST_TEXT`` characters of it (PEP 393)."""
    head = memory.some(address, FIRST_LOOK)
    if len(head) < layout.ascii_data:
        return None
    length = int.from_bytes(head[16:24], "little")
    state = int.from_bytes(head[32:36], "little")
    width, is_compact, is_ascii = state >> 2 & 7, state >> 5 & 1, state >> 6 & 1
    if width not in (1, 2, 4) or length >= 1 << 40 or (is_ascii and width != 1):
        return None
    size = min(length, LONGEST_TEXT) * width
    if not is_compact:  # made by the old API: the characters lie elsewhere
        pointer = memory.word(address + layout.compact_data)
        data = memory.read(pointer, size) if pointer and size else b""
    else:
        start = layout.ascii_data if is_ascii else layout.compact_data
        inside = head[start : start + size]
        data = inside if len(inside) == size else memory.read(address + start, size)
    if data is None:
        return None
    codec = {1: "ascii" if is_ascii else "latin-1", 2: "utf-16-le", 4: "utf-32-le"}[width]
    return data.decode(codec, "replace")


def old_unicode(memory: Memory, address: int, *, wide: bool) -> str | None:
    """Read a unicode of 2.7: ``wide`` where the interpreter was built with four bytes a character."""
    head = memory.words(address + 16, 2)
    if not head or head[0] >= 1 << 40:
        return None
    width = 4 if wide else 2
    data = memory.read(head[1], min(head[0], LONGEST_TEXT) * width) if head[0] else b""
    return None if data is None else data.decode("utf-32-le" if wide else "utf-16-le", "replace")


def some_bytes(memory: Memory, address: int, start: int, most: int = LONGEST_TEXT) -> bytes | None:
    """Read bytes (2.7: str) whose data begin ``start`` bytes into the object."""
    length = memory.word(address + 16)
    if length is None or length >= 1 << 40:
        return None
    return memory.read(address + start, min(length, most)) if length else b""
