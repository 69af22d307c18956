"""Whether a file can be the one that a kernel's crash line names, and where in it the crash was.

The line names only the file's base name, but also the bounds of the mapping: those of an executable
segment, rounded to pages (elf_load() of fs/binfmt_elf.c, _dl_map_segments() of glibc). Another build
hardly ever has a segment at the same place with the same size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.elf.image import Image

_PAGES = {"AArch64": (0x1000, 0x4000, 0x10000), "64-bit PowerPC": (0x1000, 0x10000), "LoongArch": (0x4000,)}


class Mapped(NamedTuple):
    """What a crash line says of the mapping at its instruction pointer."""

    ip: int | None
    base: int
    size: int  # bytes
    offset: int | None  # of ip in the file; kernels before 6.0 do not print it


def address(image: Image, told: Mapped) -> int | None:
    """Return the address in the file of the instruction that faulted; None: it is another file."""
    for start, size, offset in _executable(image):
        if size != told.size:
            continue
        if told.ip is None:
            return None if told.offset is None else image.address(told.offset)
        if told.offset is None or told.offset - (told.ip - told.base) == offset:
            return told.ip - told.base + start
    return None


def _executable(image: Image) -> Iterator[tuple[int, int, int]]:
    """Yield start, size and place in the file of each executable mapping, for each size of page."""
    for page in _PAGES.get(image.machine, (0x1000,)):
        for segment in image.segments:
            if segment.type != "PT_LOAD" or not segment.executable:
                continue
            before = segment.address % page
            size = -(-(segment.file_size + before) // page) * page
            yield segment.address - before, size, segment.offset - before
