"""Finds a few literal texts in a block of bytes, as fast as memory allows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from diag.host.needle_groups import groups

if TYPE_CHECKING:
    from collections.abc import Sequence


@lru_cache(maxsize=4)
def finder_of(needles: tuple[str, ...]) -> Finder:
    """Return the finder of these needles; to sort them takes as long as to search 20 MB."""
    return Finder(needles)


class Finder:
    """Finds where any of some literal texts begin."""

    def __init__(self, needles: Sequence[str]) -> None:
        literals = sorted({needle.encode() for needle in needles})
        self.reach = max(map(len, literals)) - 1  # bytes a needle may extend beyond its first
        # Leftmost-first: only this kind of match uses SIMD.
        self._groups = [
            BytesAhoCorasick(group, matchkind=MatchKind.LeftmostFirst) for group in groups(literals)
        ]

    def begins(self, text: bytes | memoryview) -> list[int]:
        """List where needles begin, in order."""
        found = [begin for group in self._groups for _, begin, _ in group.find_matches_as_indexes(text)]
        return sorted(found) if len(self._groups) > 1 else found
