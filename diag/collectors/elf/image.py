"""One ELF file: its segments, sections, names of itself and bytes (elf(5))."""

from __future__ import annotations

import lzma
import stat
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.elf import headers
from diag.collectors.elf.headers import text_at
from diag.collectors.elf.stream import Bytes, FileBytes, Memory, guarded
from diag.errors import MalformedError

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.code import Section

UNPACKED = 64 << 20
"""Bytes a compressed section may unpack to, and bytes of a section that is read whole."""

_BUILD_ID = 3  # NT_GNU_BUILD_ID


class DebugLink(NamedTuple):
    """The content of .gnu_debuglink: a file name, and the CRC-32 of that file."""

    name: str
    crc: int


class Image:
    """An ELF file: executable, library, core or separate debug file.

    ``open`` and every method raise ``MalformedError`` for damaged bytes and ``OSError`` for a file that
    can not be read.
    """

    def __init__(self, source: Bytes, path: str) -> None:
        self.path = path
        self.source = source
        found = headers.read(source)
        self.kind, self.machine, self.bits = found.kind, found.machine, found.bits
        self.little_endian = found.little_endian
        self.segments, self.sections = found.segments, found.sections

    @classmethod
    def open(cls, host: Host, path: str) -> Image:
        """Open the file behind ``path``."""
        about = host.status(path)
        if not stat.S_ISREG(about.mode):
            raise MalformedError("this is no regular file")
        return cls(FileBytes(host, path, about.size), path)

    @property
    def order(self) -> str:
        """The byte order, as ``struct`` writes it."""
        return "<" if self.little_endian else ">"

    def section(self, name: str) -> Section | None:
        """Find a section that has contents in this file."""
        return next((one for one in self.sections if one.name == name and one.type != "SHT_NOBITS"), None)

    def contents(self, section: Section) -> Bytes:
        """Return the bytes of a section, unpacked where they are packed."""
        if not section.compressed:
            return _Part(self.source, section.offset, section.size)
        data = self.source.at(section.offset, min(section.size, UNPACKED))
        with guarded(section.name):
            return Memory(self._inflate(data))

    def _inflate(self, data: bytes) -> bytes:
        """Unpack a section that begins with an Elf32_Chdr or Elf64_Chdr."""
        form = f"{self.order}IIQQ" if self.bits == 64 else f"{self.order}III"
        kind, size = struct.unpack_from(form, data)[0], struct.unpack_from(form, data)[-2]
        packed = data[struct.calcsize(form) :]
        if size > UNPACKED:
            raise MalformedError(f"a section of {size} bytes is too large to be unpacked")
        if kind == 1:
            return zlib.decompressobj().decompress(packed, UNPACKED)
        if kind == 2:
            return _zstd(packed)
        raise MalformedError(f"a section is packed in an unknown way ({kind})")

    @property
    def build_id(self) -> str | None:
        """The build id, in hexadecimal; None where the linker left none."""
        for segment in self.segments:
            if segment.type == "PT_NOTE":
                notes = self.source.at(segment.offset, min(segment.file_size, 1 << 16))
                if found := build_id(notes, self.order):
                    return found
        # Separate debug files keep the section, but what their program headers name is not there.
        for section in self.sections:
            if section.type == "SHT_NOTE":
                notes = self.source.at(section.offset, min(section.size, 1 << 16))
                if found := build_id(notes, self.order):
                    return found
        return None

    @property
    def debug_link(self) -> DebugLink | None:
        """The name of its separate debug file, where it has one."""
        section = self.section(".gnu_debuglink")
        data = self.source.at(section.offset, min(section.size, 4096)) if section else b""
        name = text_at(data, 0)
        if not name or "/" in name or len(data) < 8:
            return None
        return DebugLink(name, struct.unpack(f"{self.order}I", data[-4:])[0])

    def packed_symbols(self) -> Image | None:
        """Open .gnu_debugdata: an ELF file within this one that holds a symbol table (Fedora's)."""
        section = self.section(".gnu_debugdata")
        if section is None:
            return None
        with guarded(".gnu_debugdata"):
            unpacker = lzma.LZMADecompressor(memlimit=UNPACKED)
            data = unpacker.decompress(self.source.at(section.offset, min(section.size, UNPACKED)), UNPACKED)
        return Image(Memory(data), f"{self.path}(.gnu_debugdata)")

    def address(self, offset: int) -> int | None:
        """Turn a place in the file into an address, by the program headers; None: it is not loaded."""
        for segment in self.segments:
            if segment.type == "PT_LOAD" and segment.offset <= offset < segment.offset + segment.file_size:
                return offset - segment.offset + segment.address
        return None

    def offset(self, address: int) -> int | None:
        """Turn an address into a place in the file; None: no bytes of the file lie there."""
        for segment in self.segments:
            if segment.type == "PT_LOAD" and segment.address <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None


class _Part:
    """A part of other bytes."""

    def __init__(self, source: Bytes, start: int, size: int) -> None:
        self._source = source
        self._start = start
        self.size = max(0, min(size, source.size - start))

    def at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer at the end."""
        if offset < 0:
            return b""
        return self._source.at(self._start + offset, max(0, min(size, self.size - offset)))


def build_id(notes: bytes, order: str) -> str | None:
    """Find the build id among ELF notes, in hexadecimal. ``order`` is ``struct``'s byte order."""
    place = 0
    while place + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(f"{order}III", notes, place)
        name = notes[place + 12 : place + 12 + name_size]
        start = place + 12 + (name_size + 3 & ~3)
        if kind == _BUILD_ID and name == b"GNU\0" and 0 < size <= 64 and start + size <= len(notes):
            return notes[start : start + size].hex()
        place = start + (size + 3 & ~3)
    return None


def _zstd(packed: bytes) -> bytes:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError:
        from backports import zstd  # noqa: PLC0415
    data: bytes = zstd.ZstdDecompressor().decompress(packed, UNPACKED)
    return data
