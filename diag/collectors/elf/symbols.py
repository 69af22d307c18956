"""Which function an address belongs to, by the symbol tables of an ELF file."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.elf.headers import text_at
from diag.collectors.elf.image import UNPACKED, Image
from diag.model.code import Symbol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
                name = _name(self._strings, entry.name)
                return Symbol(name=name, address=entry.address, size=entry.size, table=self._name)
            if self._reach[before] <= address:
                return None
        return None


def names(image: Image, addresses: Sequence[int]) -> dict[int, str]:
    """Name the functions of some addresses; one pass over each table, which is not sorted for so few.

    Raises ``MalformedError``, ``OSError``.
    """
    left = sorted(set(addresses))
    found: dict[int, str] = {}
    for one in _sections(image):
        if not left:
            break
        found.update(_named(*one, left))
        left = [address for address in left if address not in found]
    return found


def _sections(image: Image) -> Iterator[tuple[Image, Section]]:
    """Yield the symbol tables of a file, the richest first: a stripped library has only its exports."""
    section = image.section(".symtab")
    inner = None if section else image.packed_symbols()
    for file, name in ((image, ".symtab"), (inner, ".symtab"), (image, ".dynsym")):
        if file and (section := file.section(name)) and 0 < section.link < len(file.sections):
            yield file, section


def _named(image: Image, section: Section, addresses: Sequence[int]) -> dict[int, str]:
    best: dict[int, tuple[int, int, int]] = {}  # the smallest function that holds it, and its rank and name
    for entry in _functions(image, section):
        place = bisect_left(addresses, entry.address)
        while place < len(addresses) and addresses[place] < entry.address + entry.size:
            known = best.get(addresses[place])
            mine = (entry.size, entry.rank, entry.name)
            if known is None or mine < known:
                best[addresses[place]] = mine
            place += 1
    strings = image.contents(image.sections[section.link])
    return {at: _name(strings, name) for at, (_, _, name) in best.items()}


def _name(strings: Bytes, place: int) -> str:
    """One name; glibc's own table has versions in its names: memcpy@@GLIBC_2.14."""
    return text_at(strings.at(place, 4096), 0).partition("@")[0]


def table(image: Image, name: str) -> Table | None:
    """Read a symbol table: ``.symtab`` or ``.dynsym``. Raises ``MalformedError``, ``OSError``."""
    section = image.section(name)
    if section is None or not 0 < section.link < len(image.sections):
        return None
    strings = image.contents(image.sections[section.link])
    return Table(name, list(_functions(image, section)), strings)


def _functions(image: Image, section: Section) -> Iterator[_Entry]:
    contents = image.contents(section)
    wide = image.bits == 64
    form = struct.Struct(f"{image.order}IBBHQQ" if wide else f"{image.order}IIIBBH")
    size = min(contents.size, UNPACKED) // form.size * form.size
    data = contents.at(0, size)
    data = data[: len(data) // form.size * form.size]
    # Thumb code is marked by an odd address.
    mask = ~1 if image.machine == "ARM" else ~0
    for fields in form.iter_unpack(data):
        if wide:
            name, info, _, section_number, value, length = fields
        else:
            name, value, length, info, _, section_number = fields
        if info & 0xF in _FUNCTIONS and section_number and length:
            yield _Entry(value & mask, length, _BINDING.get(info >> 4, 2), name)


def tables(image: Image) -> tuple[Table, ...]:
    """Read all that tell functions, the richest first."""
    found = (table(file, section.name) for file, section in _sections(image))
    return tuple(one for one in found if one)
