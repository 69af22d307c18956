"""Checks the lists of free blocks in pymalloc's pools: only what is wrong with one leaves the host.

CPython gives objects of up to 512 bytes blocks of its own pools, 2.7 to 3.14 (Objects/obmalloc.c): 4 KiB
each, 16 KiB from 3.10 on, at multiples of that. Each begins with {count of used blocks, first free block,
next pool, previous pool, arena, size class, offset of the first block never used, highest such offset}; each
free block begins with the address of the next one. Pools are told by these numbers, which little else
satisfies: measured, in 90 cores the count of used blocks was right in every one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from diag.host.records import FreeBlocks, WrongLink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Read = Callable[[int, int], bytes]  # address, size -> bytes, fewer where there are no more

MOST_BYTES = 128 << 20
"""Bytes looked at; measured: 0.4 ms a MiB."""
MOST_LINKS = 400_000
MOST_FOUND = 16
_HEAD = struct.Struct("<QQQQIIII")
_SIZES = (16384, 4096)
_PIECE = 1 << 20
_LARGEST = 512
"""Bytes of the largest block."""


def check(ranges: Iterable[tuple[int, int]], read: Read) -> FreeBlocks:
    """Follow the free blocks of every pool in ``ranges`` (start, end) of memory."""
    found: list[WrongLink] = []
    pools, bytes_left, links_left = 0, MOST_BYTES, MOST_LINKS
    for start, end in ranges:
        place = start + 4095 & ~4095
        while place < end:
            if bytes_left <= 0 or links_left <= 0 or len(found) >= MOST_FOUND:
                return FreeBlocks(found=tuple(found), pools=pools, cut=True)
            # A pool of 16 KiB must not be cut in two by the end of a piece.
            piece = min(_PIECE - place % _SIZES[0], end - place)
            data = read(place, piece)
            bytes_left -= max(len(data), 4096)
            at = 0
            while at + _HEAD.size <= len(data):
                size, block, first, unused = _pool(data, at, place + at)
                if not size:
                    at += 4096
                    continue
                pools += 1
                steps, wrong = _follow(data[at : at + size], place + at, block, first, unused)
                links_left -= steps
                found.extend(wrong)
                at += size
            place += piece
    return FreeBlocks(found=tuple(found), pools=pools, cut=False)


def _pool(data: bytes, at: int, address: int) -> tuple[int, int, int, int]:
    """Tell (bytes of the pool, bytes of a block, first free block, offset of the first one never used).

    Zeros where none begins.
    """
    used, first, _, _, _, kind, unused, highest = _HEAD.unpack_from(data, at)
    if 0 < used < 1 << 11 and kind < 64:
        for size in _SIZES:
            for step in (16, 8):  # bytes between size classes; 8 before 3.7.4
                block = (kind + 1) * step
                if (
                    highest == size - block
                    and not address % size
                    and at + size <= len(data)
                    and block <= _LARGEST
                    and _HEAD.size <= unused <= size + block
                    and not (unused - _HEAD.size) % block
                    and used <= (size - _HEAD.size) // block
                ):
                    return size, block, first, unused
    return 0, 0, 0, 0


def _follow(pool: bytes, address: int, block: int, first: int, unused: int) -> tuple[int, list[WrongLink]]:
    """Follow the free blocks of a pool to the end, or to what cannot be one of them."""
    seen: set[int] = set()
    at, holder = first, address + 8
    while at:
        offset = at - address
        past = (offset - _HEAD.size) % block
        if at in seen:
            why = "twice"
        elif not _HEAD.size <= offset <= len(pool) - block or offset >= unused:
            why = "outside"
        elif past:
            why = "between"
        else:
            seen.add(at)
            holder = at
            at = int.from_bytes(pool[offset : offset + 8], "little")
            continue
        return len(seen), [WrongLink(holder, at, block, why, past if why == "between" else 0)]
    return len(seen), []
