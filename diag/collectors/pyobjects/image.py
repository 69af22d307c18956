"""The interpreter's image in memory: where its exported symbols lie.

Read from the process itself (the dynamic section is always mapped), so it works for deleted files,
other mount namespaces and stripped builds alike. ELF: elf(5); DT_GNU_HASH: the GNU toolchain's.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects.memory import Memory

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 5, 6, 0x6FFFFEF5
_LONGEST_CHAIN = 64
_VERSIONS = (
    re.compile(r"/libpython(\d)\.(\d+)"),
    re.compile(r"/python(\d)\.(\d+)[a-z]*$"),
    re.compile(r"\.cpython-(\d)(\d+)-"),
    re.compile(r"/python(\d)\.(\d+)/lib-dynload/"),
    re.compile(r"/python(\d)\.(\d+)/"),
)


class Image(NamedTuple):
    """One mapped ELF file that may hold an interpreter."""

    base: int
    path: str
    bias: int
    strings: int
    symbols: int
    table: int  # DT_GNU_HASH


def candidates(maps: Sequence[Mapping]) -> Iterator[Mapping]:
    """Yield the first mapping of each file that may hold the interpreter: libpython, else the executable."""
    seen = set()
    first = next((item.path for item in maps if item.path.startswith("/")), "")
    for item in sorted(maps, key=lambda item: "/libpython" not in item.path):
        is_wanted = "/libpython" in item.path or item.path == first
        if is_wanted and item.offset == 0 and item.path not in seen:
            seen.add(item.path)
            yield item


def version_named(maps: Sequence[Mapping]) -> tuple[int, int] | None:
    """Guess the version by the names of what is mapped; the surest kind of name first."""
    for pattern in _VERSIONS:
        for item in maps:
            if found := pattern.search(item.path.removesuffix(" (deleted)")):
                return int(found[1]), int(found[2])
    return None


def load(memory: Memory, mapping: Mapping) -> Image | None:
    """Read the dynamic section of a mapped file; None when it is no 64-bit ELF with GNU hashes."""
    head = memory.read(mapping.start, 64)
    if head is None or head[:6] != b"\x7fELF\x02\x01":
        return None
    offset, count = struct.unpack_from("<Q", head, 32)[0], struct.unpack_from("<H", head, 56)[0]
    table = memory.read(mapping.start + offset, 56 * min(count, 64)) if 64 <= offset < 4096 else None
    lowest, dynamic = None, None
    for kind, _, _, address, *_ in struct.iter_unpack("<IIQQQQQQ", table or b""):
        if kind == _PT_LOAD and lowest is None:
            lowest = address & ~0xFFF
        elif kind == _PT_DYNAMIC:
            dynamic = address
    if lowest is None or dynamic is None:
        return None
    bias = mapping.start - lowest
    found = _dynamic(memory, bias + dynamic, bias)
    if not {_DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH} <= found.keys():
        return None
    return Image(mapping.start, mapping.path, bias, found[_DT_STRTAB], found[_DT_SYMTAB], found[_DT_GNU_HASH])


def _dynamic(memory: Memory, address: int, bias: int) -> dict[int, int]:
    found = {}
    for at in range(64):
        tag, value = memory.words(address + 16 * at, 2) or (0, 0)
        if tag == 0:
            break
        # glibc's loader has added the bias already, musl's has not.
        found[tag] = value if value >= bias else value + bias
    return found


def symbol(memory: Memory, image: Image, name: str) -> int | None:
    """Find the address of one exported symbol; None when the image has none of this name."""
    head = memory.read(image.table, 16)
    if head is None:
        return None
    buckets, first, words, _ = struct.unpack("<IIII", head)
    if not 0 < buckets < 1 << 24 or words >= 1 << 24:
        return None
    value = _hash(name)
    at_buckets = image.table + 16 + 8 * words
    index = _u32(memory, at_buckets + 4 * (value % buckets))
    chains = at_buckets + 4 * buckets
    for step in range(_LONGEST_CHAIN):
        entry = index + step
        if index < first:
            return None
        seen = _u32(memory, chains + 4 * (entry - first))
        if seen | 1 == value | 1 and (address := _named(memory, image, entry, name)):
            return address
        if seen & 1:
            return None
    return None


def _named(memory: Memory, image: Image, entry: int, name: str) -> int | None:
    data = memory.read(image.symbols + 24 * entry, 24)
    if data is None:
        return None
    at, _, _, section, address, _ = struct.unpack("<IBBHQQ", data)
    if section == 0 or memory.text(image.strings + at, len(name) + 1) != name:
        return None
    return int(address) + image.bias


def _hash(name: str) -> int:
    value = 5381
    for byte in name.encode():
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _u32(memory: Memory, address: int) -> int:
    data = memory.read(address, 4)
    return 0 if data is None else int.from_bytes(data, "little")
