"""The headers and notes of an ELF core, read within bounds: every number in it is untrusted (elf(5))."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]  # offset, size -> at most so many bytes

PT_LOAD, PT_NOTE = 1, 4
ET_CORE = 4
MOST_SEGMENTS = 1 << 20
MOST_NOTES = 256 << 20
"""Bytes of notes that are read: 20,000 threads with 2.7 KB of vector registers each have 60 MB."""
LARGEST_NOTE = 32 << 20
_PN_XNUM = 0xFFFF

MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 21: "ppc64", 22: "s390x", 243: "riscv64"}


class Segment(NamedTuple):
    """One program header."""

    kind: int
    flags: int  # 1 execute, 2 write, 4 read
    offset: int
    address: int
    in_file: int  # bytes that the core holds
    in_memory: int


class Header(NamedTuple):
    """What the file says of itself."""

    machine: str
    bits: int
    segments: tuple[Segment, ...]
    cut: bool  # the table of segments itself is not whole


class Note(NamedTuple):
    """One note."""

    name: str
    kind: int
    data: bytes


def parse(read: Read, size: int) -> Header:
    """Read the headers of a core of ``size`` bytes.

    Raises ``OSError`` (ENOEXEC) with a reason when it is no core that can be read.
    """
    head = read(0, 64)
    if head[:4] != b"\x7fELF":
        raise OSError(errno.ENOEXEC, "not a core file: it does not begin like an ELF file")
    if len(head) < 52:
        raise OSError(errno.ENOEXEC, "the core file is cut short within its first bytes")
    if head[5] == 2:
        raise OSError(errno.ENOEXEC, "a core of a big-endian machine: not known")
    if head[4] not in (1, 2) or head[5] != 1:
        raise OSError(errno.ENOEXEC, "a damaged ELF header")
    kind, number = struct.unpack_from("<HH", head, 16)
    if kind != ET_CORE:
        what = {1: "an object file", 2: "a program", 3: "a program or library"}.get(kind, "another ELF file")
        raise OSError(errno.ENOEXEC, f"not a core file: it is {what}")
    machine = MACHINES.get(number, "")
    if head[4] == 1:
        return Header(machine, 32, (), cut=False)
    if len(head) < 64:
        raise OSError(errno.ENOEXEC, "the core file is cut short within its first bytes")
    table, sections = struct.unpack_from("<QQ", head, 32)
    width, count = struct.unpack_from("<HH", head, 54)
    if width != 56:
        raise OSError(errno.ENOEXEC, "a damaged ELF header")
    if count == _PN_XNUM:  # more than 65,534: the number stands in the first section header (elf(5))
        first = read(sections, 64)
        count = struct.unpack_from("<I", first, 44)[0] if len(first) == 64 else 0
    count = min(count, MOST_SEGMENTS, max(size - table, 0) // width)
    data = read(table, count * width)
    whole = len(data) - len(data) % width
    found = tuple(
        Segment(kind, flags, offset, address, in_file, in_memory)
        for kind, flags, offset, address, _, in_file, in_memory, _ in struct.iter_unpack(
            "<IIQQQQQQ", data[:whole]
        )
    )
    return Header(machine, 64, found, cut=not found or whole < count * width)


def notes(read: Read, header: Header) -> Iterator[Note]:
    """Yield the notes; what is damaged ends the walk."""
    left = MOST_NOTES
    for segment in header.segments:
        if segment.kind == PT_NOTE and left > 0:
            data = read(segment.offset, min(segment.in_file, left))
            left -= len(data)
            yield from parse_notes(data)


def parse_notes(data: bytes, align: int = 4) -> Iterator[Note]:
    """Yield the notes of one segment: name size, data size, type, name, data, each padded."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        at += 12
        name_end = at + (name_size + align - 1) // align * align
        end = name_end + size
        if name_size > 256 or size > LARGEST_NOTE or end > len(data):
            return
        name = data[at : at + name_size].rstrip(b"\0").decode("ascii", "replace")
        yield Note(name, kind, data[name_end:end])
        at = name_end + (size + align - 1) // align * align


def code_ranges(read: Read) -> tuple[tuple[int, int], ...]:
    """Find which bytes of a 64-bit ELF image are code: (first, end) offsets; none if it cannot be read."""
    return tuple(
        (offset & ~0xFFF, offset + size)
        for kind, flags, offset, size, _ in _program_headers(read) or ()
        if kind == PT_LOAD and flags & 1
    )


def has_debug_info(read: Read) -> bool:
    """Whether a 64-bit ELF image tells lines and inlined functions itself (section .debug_info)."""
    head = read(0, 64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return False
    (table,) = struct.unpack_from("<Q", head, 40)
    width, count, names = struct.unpack_from("<HHH", head, 58)
    if width != 64 or names >= count:
        return False
    rows = list(struct.iter_unpack("<IIQQQQIIQQ", read(table, width * count)[: width * count]))
    if len(rows) < count:
        return False
    return b".debug_info\0" in read(rows[names][4], min(rows[names][5], 1 << 20))


def _program_headers(read: Read) -> list[tuple[int, int, int, int, int]] | None:
    """Read (kind, flags, offset, bytes in the file, alignment) of each; None: no such image, or not whole."""
    head = read(0, 64)
    if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
        return None
    (table,) = struct.unpack_from("<Q", head, 32)
    width, count = struct.unpack_from("<HH", head, 54)
    if width != 56 or not 0 < count <= 128 or table > 1 << 20:
        return None
    data = read(table, width * count)
    if len(data) < width * count:
        return None
    return [
        (kind, flags, offset, size, align)
        for kind, flags, offset, _, _, size, _, align in struct.iter_unpack("<IIQQQQQQ", data)
    ]


def build_id(read: Read) -> str | None:
    """Find the build id of a 64-bit ELF image; "": it has none; None: this is no such image, or not whole.

    ``read`` takes offsets from the image's first byte, in a file or in memory alike: the notes lie in its
    first pages.
    """
    headers = _program_headers(read)
    if headers is None:
        return None
    complete = True
    for kind, _, offset, size, align in headers:
        if kind != PT_NOTE:
            continue
        body = read(offset, min(size, 1 << 16))
        complete = complete and len(body) >= min(size, 1 << 16)
        for note in parse_notes(body, 8 if align == 8 else 4):
            if note.name == "GNU" and note.kind == 3:
                return note.data[:64].hex()
    return "" if complete else None
