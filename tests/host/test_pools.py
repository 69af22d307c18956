"""The free blocks of pymalloc's pools, on memory laid out as CPython does it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diag.host.core import pools
from diag.host.records import FreeBlocks

if TYPE_CHECKING:
    from collections.abc import Callable

START = 0x7F00_0000_0000


def pool(size: int, kind: int, step: int, free: list[int], ends: int = 0) -> bytearray:
    """Lay out a pool of ``size`` bytes whose first blocks were used, but for those at the offsets ``free``.

    ``ends``: where the last of them leads.
    """
    block, begun = (kind + 1) * step, 10
    data = bytearray(size)
    chain = [START + offset for offset in free] + [ends]
    head = (begun - len(free), chain[0], 0, 0, 0, kind, 48 + begun * block, size - block)
    struct.pack_into("<QQQQIIII", data, 0, *head)
    for offset, following in zip(free, chain[1:], strict=True):
        struct.pack_into("<Q", data, offset, following)
    return data


def memory(data: bytes | bytearray) -> Callable[[int, int], bytes]:
    return lambda address, size: bytes(data[address - START : address - START + size])


SHAPES = pytest.mark.parametrize(
    ("size", "kind", "step"), [(4096, 5, 8), (4096, 3, 16), (16384, 0, 16), (16384, 31, 16)]
)


def check(data: bytes | bytearray) -> FreeBlocks:
    return pools.check([(START, START + len(data))], memory(data))


@SHAPES
def test_lists_that_end_are_fine(size: int, kind: int, step: int) -> None:
    block = (kind + 1) * step
    data = b"".join(pool(size, kind, step, free) for free in ([], [48], [48 + 3 * block, 48, 48 + block]))
    assert check(data[:size]) == FreeBlocks(found=(), pools=1, cut=False)
    assert not check(bytes(3 * size)).pools


@SHAPES
def test_a_block_that_is_free_twice(size: int, kind: int, step: int) -> None:
    block = (kind + 1) * step
    found = check(pool(size, kind, step, [48 + 3 * block, 48], ends=START + 48 + 3 * block)).found
    assert [(one.why, one.link, one.size) for one in found] == [("twice", START + 48 + 3 * block, block)]


@SHAPES
def test_a_block_that_was_written_to_after_it_was_freed(size: int, kind: int, step: int) -> None:
    block = (kind + 1) * step
    for ends, why in (
        (START + 48 + block + 1, "between"),  # somebody counted one reference more
        (START + size - 8, "outside"),
        (START + 48 + 10 * block, "outside"),  # never used so far
        (0x4141414141414141, "outside"),
        (8, "outside"),
    ):
        (found,) = check(pool(size, kind, step, [48], ends=ends)).found
        assert (found.why, found.block, found.link) == (why, START + 48, ends)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 48), st.integers(0, 1 << 64 - 1))
def test_hostile_pools(noise: bytes, at: int, word: int) -> None:
    data = pool(4096, 3, 16, [48, 112])
    data[at : at + len(noise)] = noise
    struct.pack_into("<Q", data, 48, word)
    found = check(bytes(data[:4096]) * 4)
    assert found.pools <= 4
    assert len(found.found) <= found.pools


def test_bounds() -> None:
    """A core may promise more memory than there is, and every pool of it may be broken."""
    data = bytes(pool(4096, 3, 16, [48], ends=8)) * 64
    assert len(check(data).found) <= pools.MOST_FOUND + 64
    assert pools.check([(0, 1 << 60)], lambda _address, _size: b"").cut
