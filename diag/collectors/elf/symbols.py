"""Which function an address belongs to, by the symbol tables of an ELF file."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.elf.image import UNPACKED, Image, text_at
from diag.model.code import Symbol

if TYPE_CHECKING:
    from diag.collectors.elf.stream import Bytes
    from diag.model.code import Section

_FUNCTIONS = {2, 10}  # STT_FUNC, STT_GNU_IFUNC
_BINDING = {1: 0, 2: 1}  # STB_GLOBAL before STB_WEAK before STB_LOCAL


class _Entry(NamedTuple):
    address: int
    size: int
    rank: int
    name: int  # offset into the string table


class Table:
    """One symbol table, sorted by address.

    It is parsed here with ``struct`` and not with pyelftools, which takes 20 µs a symbol: a C++ library has
    a hundred thousand of them.
    """

    def __init__(self, name: str, entries: list[_Entry], strings: Bytes) -> None:
        self._name = name
        self._strings = strings
        self._entries = sorted(entries, key=lambda entry: (entry.address, -entry.rank))
        self._addresses = [entry.address for entry in self._entries]
        # Functions seldom overlap; where they do, how far back one may begin that is still open.
        self._reach: list[int] = []
        end = 0
        for entry in self._entries:
            end = max(end, entry.address + entry.size)
            self._reach.append(end)

    def find(self, address: int) -> Symbol | None:
        """Return the function whose bytes hold ``address``; the innermost where several do."""
        place = bisect_right(self._addresses, address) - 1
        for before in range(place, max(-1, place - 64), -1):
            entry = self._entries[before]
            if entry.address <= address < entry.address + entry.size:
                # glibc's own table has versions in its names: memcpy@@GLIBC_2.14.
                name = text_at(self._strings.at(entry.name, 4096), 0).partition("@")[0]
                return Symbol(name=name, address=entry.address, size=entry.size, table=self._name)
            if self._reach[before] <= address:
                return None
        return None


def table(image: Image, name: str) -> Table | None:
    """Read a symbol table: ``.symtab`` or ``.dynsym``. Raises ``MalformedError``, ``OSError``."""
    section = image.section(name)
    if section is None or not 0 < section.link < len(image.sections):
        return None
    strings = image.contents(image.sections[section.link])
    return Table(name, _functions(image, section), strings)


def _functions(image: Image, section: Section) -> list[_Entry]:
    contents = image.contents(section)
    wide = image.bits == 64
    form = struct.Struct(f"{image.order}IBBHQQ" if wide else f"{image.order}IIIBBH")
    size = min(contents.size, UNPACKED) // form.size * form.size
    data = contents.at(0, size)
    data = data[: len(data) // form.size * form.size]
    # Thumb code is marked by an odd address.
    mask = ~1 if image.machine == "ARM" else ~0
    found = []
    for fields in form.iter_unpack(data):
        if wide:
            name, info, _, section_number, value, length = fields
        else:
            name, value, length, info, _, section_number = fields
        if info & 0xF in _FUNCTIONS and section_number and length:
            found.append(_Entry(value & mask, length, _BINDING.get(info >> 4, 2), name))
    return found


def tables(image: Image) -> tuple[Table, ...]:
    """Read all that tell functions, the richest first: a stripped library has only its exports."""
    found = [table(image, ".symtab")]
    if found[0] is None and (inner := image.packed_symbols()):
        found.append(table(inner, ".symtab"))
    found.append(table(image, ".dynsym"))
    return tuple(one for one in found if one)
