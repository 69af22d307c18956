"""Dictionaries, lists, tuples, sets, deques: from an address to the addresses of what is in them.

Sizes are what memory says, cut to what may be asked for: a table that is being resized while it is
read gives odd sizes for a moment, and a corrupted one for ever.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from diag.collectors.pyobjects.memory import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects.layouts import Layout
    from diag.collectors.pyobjects.memory import Memory

MOST = 10_000
"""Entries of one container that are looked at."""

Pairs = tuple[tuple[int, int], ...]

_DEQUE_BLOCK = 64
_DEQUE_BLOCK_OLD = 62
_NO_HASH = (1 << 64) - 1


def dictionary(memory: Memory, layout: Layout, address: int) -> Pairs:
    """Read the (key, value) addresses of a dict."""
    if layout.dict_form == "table":
        head = memory.words(address + 16, 4)  # fill, used, mask, table
        return _table(memory, head[3], head[2] + 1) if head else ()
    head = memory.words(address + 16, 4)  # used, version, keys, values
    if not head:
        return ()
    _, _, keys, values = head
    if values:
        return shared(memory, layout, keys, values + layout.values_at)
    return _entries(memory, layout, keys)


def dictionary_length(memory: Memory, layout: Layout, address: int) -> int | None:
    """How many entries a dict says it has."""
    used = memory.word(address + (24 if layout.dict_form == "table" else 16))
    return used if used is not None and used < 1 << 40 else None


def _table(memory: Memory, table: int, count: int) -> Pairs:
    data = _bulk(memory, table, 24, min(count, 4 * MOST))
    return tuple((key, value) for _, key, value in struct.iter_unpack("<QQQ", data) if key and value)


def shared(memory: Memory, layout: Layout, keys: int, values: int) -> Pairs:
    """Pair the keys that all instances of a class share with the values of one of them."""
    names = _keys(memory, layout, keys)
    found = memory.words(values, len(names))
    return tuple((name, value) for name, value in zip(names, found, strict=False) if name and value)


def _keys(memory: Memory, layout: Layout, keys: int) -> tuple[int, ...]:
    start, count, size = _shape(memory, layout, keys)
    data = _bulk(memory, start, size, min(count, 256))
    at = 0 if size == 16 else 8
    return tuple(int.from_bytes(data[n + at : n + at + 8], "little") for n in range(0, len(data), size))


def _entries(memory: Memory, layout: Layout, keys: int) -> Pairs:
    start, count, size = _shape(memory, layout, keys)
    data = _bulk(memory, start, size, count)
    if size == 16:
        return tuple((key, value) for key, value in struct.iter_unpack("<QQ", data) if key and value)
    return tuple((key, value) for _, key, value in struct.iter_unpack("<QQQ", data) if key and value)


def _shape(memory: Memory, layout: Layout, keys: int) -> tuple[int, int, int]:
    """Where the entries of a keys object begin, how many there are, and the bytes of one."""
    data = memory.read(keys, 40)
    if data is None:
        return 0, 0, 24
    if layout.dict_form == "log2":
        log2_size, log2_bytes, kind = data[8], data[9], data[10]
        count = int.from_bytes(data[24:32], "little")
        if log2_size > 40 or log2_bytes > 44 or count > 1 << log2_size:
            return 0, 0, 24
        return keys + 32 + (1 << log2_bytes), min(count, MOST), 16 if kind else 24
    size, _, _, count = struct.unpack_from("<QQQQ", data, 8)
    if not 0 < size <= 1 << 40 or count > size:
        return 0, 0, 24
    width = 1 if size <= 0xFF else 2 if size <= 0xFFFF else 4 if size <= 0xFFFFFFFF else 8
    return keys + 40 + width * size, min(count, MOST), 24


def _bulk(memory: Memory, start: int, size: int, count: int) -> bytes:
    """Read ``count`` entries, or as many as may be read in one go."""
    count = min(count, LARGEST // size)
    if not start or count <= 0:
        return b""
    return memory.read(start, size * count) or b""


def sequence(memory: Memory, layout: Layout, address: int, *, is_tuple: bool, most: int) -> tuple[int, ...]:
    """Read the elements of a list or tuple, at most ``most``."""
    head = memory.words(address + 16, 2)
    if not head or not 0 < head[0] < 1 << 40:
        return ()
    start = address + layout.tuple_items if is_tuple else head[1]
    found = memory.words(start, min(head[0], most))
    # A reader of a list that shrinks may see a freed tail: what is no address is none.
    return tuple(item for item in found if item)


def a_set(memory: Memory, layout: Layout, address: int) -> tuple[int, ...]:
    """Read the elements of a set or frozenset, in the order of its table.

    A deleted entry keeps a stand-in: from 3 on its hash is -1, which nothing real has; in 2.7 it is a
    str that the caller must leave out.
    """
    head = memory.words(address + 16, 4)  # fill, used, mask, table
    if not head or head[2] >= 1 << 40:
        return ()
    data = _bulk(memory, head[3], 16, min(head[2] + 1, 4 * MOST))
    pairs = struct.iter_unpack("<QQ", data)
    if layout.dict_form == "table":
        return tuple(key for _, key in pairs if key)
    return tuple(key for key, hashed in pairs if key and hashed != _NO_HASH)


def deque(memory: Memory, layout: Layout, address: int, most: int) -> tuple[int, ...]:
    """Read the elements of a deque from its left end, at most ``most``."""
    if layout.deque_form == "plain":
        head = memory.words(address + 16, 5)
        if not head:
            return ()
        block, _, left, _, length = head
        width, following, data_at = _DEQUE_BLOCK_OLD, 8 * _DEQUE_BLOCK_OLD, 0  # data, rightlink, leftlink
    else:
        head = memory.words(address + 16, 4)
        if not head:
            return ()
        length, block, _, left = head
        width, following, data_at = _DEQUE_BLOCK, 8 + 8 * _DEQUE_BLOCK, 8  # leftlink, data, rightlink
    if length >= 1 << 40 or left > width:
        return ()
    return tuple(_blocks(memory, block, left, min(length, most), (width, following, data_at)))


def _blocks(memory: Memory, block: int, left: int, wanted: int, form: tuple[int, int, int]) -> Iterator[int]:
    width, following, data_at = form
    while wanted > 0 and block:
        count = min(width - left, wanted)
        found = memory.words(block + data_at + 8 * left, count)
        if len(found) != count:
            return
        yield from found
        wanted, left = wanted - count, 0
        block = memory.word(block + following) or 0
