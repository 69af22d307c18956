"""Runs a line number program (DWARF 5, section 6.2.5), without keeping its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4 << 20
"""Bytes of a program that are run: the largest units have some 2 MB."""

_MASK = (1 << 64) - 1


class Row(NamedTuple):
    """From this address on, code comes from this line."""

    address: int
    file: int
    line: int


class _Registers:
    __slots__ = ("address", "file", "line")

    def __init__(self) -> None:
        self.address, self.file, self.line = 0, 1, 1

    def row(self) -> Row:
        return Row(self.address, self.file, self.line)


class _Reader:
    """Reads operands. Beyond the end there are zeros only, so that a program cut short ends."""

    def __init__(self, data: bytes, order: str) -> None:
        self.data = data
        self.order: Any = order
        self.place = 0

    def number(self, size: int) -> int:
        start, self.place = self.place, self.place + size
        return int.from_bytes(self.data[start : self.place], self.order)

    def uleb(self) -> int:
        value = shift = 0
        while shift < 70 and self.place < len(self.data):
            byte = self.data[self.place]
            self.place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    def sleb(self) -> int:
        start = self.place
        value = self.uleb()
        read = self.place - start
        negative = read and self.data[self.place - 1] & 0x40
        return value - (1 << 7 * read) if negative else value


def rows(program: bytes, header: Any, *, little: bool) -> Iterator[tuple[Row, int]]:
    """Yield each row with the address at which it ends.

    ``header`` is the header of the program as pyelftools reads it. Raises ``ZeroDivisionError`` and
    others on a damaged header.
    """
    read = _Reader(program[:MOST], "little" if little else "big")
    least, span = header["minimum_instruction_length"], header["line_range"]
    first, base = header["opcode_base"], header["line_base"]
    lengths = header["standard_opcode_lengths"]
    at = _Registers()
    last: Row | None = None
    while read.place < len(read.data):
        code = read.number(1)
        emits = ends = False
        if code >= first:  # a special opcode moves both and makes a row
            moved = code - first
            at.address += moved // span * least
            at.line += base + moved % span
            emits = True
        elif code == 0:
            length = read.uleb()
            after = read.place + length
            kind = read.number(1)
            if kind == 1:  # DW_LNE_end_sequence
                emits = ends = True
            elif kind == 2:  # DW_LNE_set_address
                at.address = read.number(min(max(length - 1, 0), 8))
            read.place = max(after, read.place)
        elif code == 1:  # DW_LNS_copy
            emits = True
        elif code == 2:  # DW_LNS_advance_pc
            at.address = at.address + read.uleb() * least & _MASK
        elif code == 3:  # DW_LNS_advance_line
            at.line += read.sleb()
        elif code == 4:  # DW_LNS_set_file
            at.file = read.uleb()
        elif code == 8:  # DW_LNS_const_add_pc
            at.address += (255 - first) // span * least
        elif code == 9:  # DW_LNS_fixed_advance_pc
            at.address += read.number(2)
        else:  # columns, marks, and what later versions may add
            for _ in range(lengths[code - 1]):
                read.uleb()
        if emits:
            if last is not None and last.address < at.address:
                yield last, at.address
            last = None if ends else at.row()
            if ends:
                at = _Registers()
