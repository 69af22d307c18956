"""Finds pointers in the memory of a core: only where they lie leaves the host, never what is around them."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

from diag.host.records import FoundWord, FoundWords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Range = tuple[int, int]  # start, end

MOST_BYTES = 64 << 20
"""Bytes searched in all; measured: 0.1 s for 16 MiB."""
MOST_HITS = 20_000


def find(read: Callable[[int, int], bytes], places: Sequence[Range], targets: Sequence[Range]) -> FoundWords:
    """Search ``places`` for aligned 8-byte words that lie in one of ``targets``.

    ``read(address, size)`` gives as many bytes as there are, or raises ``OSError``.
    """
    wanted = sorted((start, end) for start, end in targets if start < end)
    found: list[FoundWord] = []
    left, cut = MOST_BYTES, False
    for start, end in places if wanted else ():
        start = start + 7 & ~7  # noqa: PLW2901
        size = min(end - start, left)
        cut = cut or size < end - start
        if size <= 0:
            continue
        left -= size
        found.extend(_hits(_held(read, start, size), start, wanted))
        if len(found) >= MOST_HITS:
            return FoundWords(found=tuple(found[:MOST_HITS]), cut=True)
    return FoundWords(found=tuple(found), cut=cut)


def _held(read: Callable[[int, int], bytes], start: int, size: int) -> bytes:
    try:
        return read(start, size)
    except OSError:
        return b""


def _hits(data: bytes, start: int, targets: Sequence[Range]) -> Iterator[FoundWord]:
    words = array("Q", data[: len(data) // 8 * 8])
    if sys.byteorder == "big":
        words.byteswap()
    starts = [first for first, _ in targets]
    lowest, highest = targets[0][0], max(end for _, end in targets)
    for number, word in enumerate(words):
        if lowest <= word < highest and word < targets[bisect_right(starts, word) - 1][1]:
            yield FoundWord(start + 8 * number, word)
