"""The headers of an ELF file (elf(5)), read with ``struct``: pyelftools takes 20 ms to load."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.errors import MalformedError
from diag.model.code import Section, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.elf.stream import Bytes

MAGIC = b"\x7fELF"
MOST_SECTIONS = 2_000
MOST_SEGMENTS = 70_000  # a core has one a mapping, and vm.max_map_count is 65530
_MOST_NAMES = 1 << 20

_KINDS = {1: "ET_REL", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
_MACHINES = {
    3: "x86", 8: "MIPS", 20: "PowerPC", 21: "64-bit PowerPC", 22: "IBM System/390", 40: "ARM", 62: "x64",
    183: "AArch64", 243: "RISC-V", 258: "LoongArch",
}  # fmt: skip
"""The names are those of pyelftools, which reads the debugging information."""
_SEGMENTS = {1: "PT_LOAD", 2: "PT_DYNAMIC", 3: "PT_INTERP", 4: "PT_NOTE", 6: "PT_PHDR", 7: "PT_TLS"}
_SECTIONS = {
    1: "SHT_PROGBITS", 2: "SHT_SYMTAB", 3: "SHT_STRTAB", 4: "SHT_RELA", 6: "SHT_DYNAMIC", 7: "SHT_NOTE",
    8: "SHT_NOBITS", 9: "SHT_REL", 11: "SHT_DYNSYM",
}  # fmt: skip
_COMPRESSED = 0x800  # SHF_COMPRESSED
_IN_FIRST_SECTION = 0xFFFF  # SHN_XINDEX, PN_XNUM: the number does not fit, and stands there


class Headers(NamedTuple):
    """What the file says of itself."""

    kind: str  # ET_EXEC ET_DYN ET_CORE; a number as text where it has no name
    machine: str  # "x64", "AArch64" ...; "<unknown>"
    bits: int
    little_endian: bool
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]


class _Form(NamedTuple):
    """How the tables lie in a file of 32 or 64 bits, of one byte order."""

    header: struct.Struct  # type, machine, version, entry, e_phoff, e_shoff, flags, 6 half words
    segment: struct.Struct
    section: struct.Struct


def read(source: Bytes) -> Headers:
    """Read the headers. Raises ``MalformedError`` when this is no ELF file, or damaged beyond sense."""
    head = source.at(0, 64)
    if head[:4] != MAGIC:
        raise MalformedError("this is not an ELF file")
    if len(head) < 6 or head[4] not in (1, 2) or head[5] not in (1, 2):
        raise MalformedError("the ELF header is damaged")
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    form = _Form(
        struct.Struct(f"{order}HHI{'QQQ' if wide else 'III'}IHHHHHH"),
        struct.Struct(f"{order}{'IIQQQQQQ' if wide else 'IIIIIIII'}"),
        struct.Struct(f"{order}{'IIQQQQIIQQ' if wide else 'IIIIIIIIII'}"),
    )
    try:
        fields = form.header.unpack_from(head, 16)
    except struct.error as error:
        raise MalformedError("the ELF header is cut short") from error
    kind, machine, _, _, segments_at, sections_at, _, _, width, count, section_width, sections, names = fields
    first = _table(source, sections_at, section_width, 1, form.section)
    if first and count == _IN_FIRST_SECTION:
        count = first[0][7]
    if first and not sections:
        sections = first[0][5]
    if first and names == _IN_FIRST_SECTION:
        names = first[0][6]
    rows = _table(source, sections_at, section_width, sections, form.section)
    return Headers(
        kind=_KINDS.get(kind, str(kind)),
        machine=_MACHINES.get(machine, "<unknown>"),
        bits=64 if wide else 32,
        little_endian=order == "<",
        segments=tuple(
            _segment(row, wide=wide)
            for row in _table(source, segments_at, width, min(count, MOST_SEGMENTS), form.segment)
        ),
        sections=tuple(_named(source, rows, names)) if 0 < sections <= MOST_SECTIONS else (),
    )


def _table(source: Bytes, at: int, width: int, count: int, form: struct.Struct) -> list[tuple[int, ...]]:
    """Read at most ``count`` rows; fewer where the file ends."""
    if not at or width < form.size or count <= 0:
        return []
    data = source.at(at, width * min(count, MOST_SEGMENTS))
    return [form.unpack_from(data, place) for place in range(0, len(data) - form.size + 1, width)]


def _segment(row: tuple[int, ...], *, wide: bool) -> Segment:
    kind, flags, offset, address, _, in_file, in_memory = (
        row[:7] if wide else (row[0], row[6], row[1], row[2], row[3], row[4], row[5])
    )
    return Segment(
        type=_SEGMENTS.get(kind, str(kind)),
        offset=offset,
        address=address,
        file_size=in_file,
        memory_size=in_memory,
        executable=bool(flags & 1),
        writable=bool(flags & 2),
    )


def _named(source: Bytes, rows: list[tuple[int, ...]], names: int) -> Iterator[Section]:
    table = source.at(rows[names][4], min(rows[names][5], _MOST_NAMES)) if names < len(rows) else b""
    for name, kind, flags, address, offset, size, link, *_ in rows:
        yield Section(
            name=text_at(table, name),
            type=_SECTIONS.get(kind, str(kind)),
            offset=offset,
            address=address,
            size=size,
            link=link,
            compressed=bool(flags & _COMPRESSED),
        )


def text_at(table: bytes, place: int) -> str:
    """Read a NUL-terminated name out of a string table."""
    end = table.find(b"\0", place)
    name = table[place : end if end >= 0 else len(table)]
    return name[:4096].decode("utf-8", "replace")
