"""From an instruction to a line: the three line tables that code objects have had.

Formats: Objects/lnotab_notes.txt (to 3.9 and 3.10, PEP 626), Objects/locations.md (3.11, PEP 657).
Offsets count bytes of byte code. A table that ends early gives the last line it named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNIT = 2  # bytes of an instruction since 3.6


def line_of(form: str, table: bytes, first: int, offset: int, *, signed: bool = True) -> int:
    """Return the line of the instruction at ``offset``; 0 where the table says it has none."""
    if form == "lnotab":
        return _lnotab(table, first, offset, signed=signed)
    steps = _steps(table) if form == "lines" else _locations(table)
    line, at = first, 0
    for length, delta in steps:
        line += delta or 0
        at += length
        if at > offset:
            return line if delta is not None else 0
    return line


def _lnotab(table: bytes, first: int, offset: int, *, signed: bool) -> int:
    line, at = first, 0
    for step, delta in zip(table[::2], table[1::2], strict=False):
        at += step
        if at > offset:
            break
        line += delta - 256 if signed and delta >= 128 else delta
    return line


def _steps(table: bytes) -> Iterator[tuple[int, int | None]]:
    """Yield (bytes, line delta or None) of 3.10's table; -128 says: no line."""
    for length, delta in zip(table[::2], table[1::2], strict=False):
        yield length, None if delta == 128 else delta - 256 if delta > 128 else delta


def _locations(table: bytes) -> Iterator[tuple[int, int | None]]:
    """Yield the same of 3.11's table: a first byte with kind and length, then columns we do not need."""
    at = 0
    while at < len(table):
        first = table[at]
        kind, length = first >> 3 & 15, ((first & 7) + 1) * _UNIT
        at += 1
        if kind == 15:
            yield length, None
        elif kind in (13, 14):
            delta, at = _signed(table, at)
            for _ in range(3 if kind == 14 else 0):
                _, at = _varint(table, at)
            yield length, delta
        elif kind >= 10:
            at += 2
            yield length, kind - 10
        else:
            at += 1
            yield length, 0


def _varint(table: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(table) and shift <= 30:
        byte = table[at]
        at += 1
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            break
    return value, at


def _signed(table: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(table, at)
    return (-(value >> 1) if value & 1 else value >> 1), at
