"""From an address to a line of the source, by DWARF.

pyelftools reads compilation units and their entries, lazily; the line program itself is run here, for
pyelftools keeps an object a row: a large unit has 250,000 rows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from diag.collectors.elf.line_program import rows
from diag.collectors.elf.stream import Budget, Window, guarded
from diag.errors import MalformedError
from diag.model.code import SourceLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from elftools.dwarf.aranges import ARanges
    from elftools.dwarf.compileunit import CompileUnit
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DWARFInfo

    from diag.collectors.elf.image import Image

_SECTIONS = (
    "info", "aranges", "abbrev", "str", "line", "ranges", "addr", "str_offsets", "line_str", "rnglists",
)  # fmt: skip
_UNUSED = ("frame", "loc", "pubtypes", "pubnames", "loclists", "sup", "types")
_INLINED = "DW_TAG_inlined_subroutine"
_DEEPEST = 40  # functions inlined into each other


class Dwarf:
    """The debugging information of one file. Use ``of``."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._streams: dict[str, Any] = {}
        self._index: ARanges | None = None

    @classmethod
    def of(cls, image: Image) -> Dwarf | None:
        """Return it, or None for a file that has none."""
        return cls(image) if image.section(".debug_info") and image.section(".debug_line") else None

    def find(self, address: int) -> SourceLine | None:
        """Find the line of an address of the file.

        Raises ``MalformedError`` for damaged debugging information, or more than may be read.
        """
        with guarded("debugging information"):
            dwarf = self._open()
            if self._index is None:  # the largest part of a question, and the same for all
                self._index = dwarf.get_aranges()
            unit = _unit(dwarf, self._index, address)
            if unit is None:
                return None
            place = _line(dwarf, unit, address)
            if place is None:
                return None
        functions: tuple[str, ...] = ()
        # Names may lie in another file that several packages share (dwz), or cost too much.
        with suppress(MalformedError), guarded("functions"):
            functions = tuple(_functions(dwarf, unit, address))
        return SourceLine(
            file=place.file,
            line=place.line,
            function=functions[0] if functions else None,
            inlined_into=functions[1:],
        )

    def _open(self) -> DWARFInfo:
        """Open anew for each question: each has a budget of its own."""
        from elftools.dwarf.dwarfinfo import DwarfConfig, DWARFInfo  # noqa: PLC0415 - loads only when used

        budget = Budget()
        sections = {f"debug_{name}_sec": self._section(f".debug_{name}", budget) for name in _SECTIONS}
        unused = {f"debug_{name}_sec": None for name in _UNUSED}
        config = DwarfConfig(
            little_endian=self._image.little_endian,
            machine_arch=self._image.machine,
            default_address_size=self._image.bits // 8,
        )
        return DWARFInfo(config, eh_frame_sec=None, gnu_debugaltlink_sec=None, **sections, **unused)

    def _section(self, name: str, budget: Budget) -> DebugSectionDescriptor | None:
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor  # noqa: PLC0415 - loads only when used

        section = self._image.section(name)
        if section is None:
            return None
        if name not in self._streams:
            self._streams[name] = self._image.contents(section)
        contents = self._streams[name]
        stream = Window(contents, 0, contents.size, budget)
        return DebugSectionDescriptor(cast("IO[bytes]", stream), name, section.offset, stream.size, 0)


class _Place(NamedTuple):
    file: str
    line: int


def _unit(dwarf: DWARFInfo, index: ARanges | None, address: int) -> CompileUnit | None:
    """Find the unit an address belongs to: by the index, which clang leaves out, or one by one."""
    if index is not None and index.entries:
        offset = index.cu_offset_at_addr(address)
        if offset is not None:
            return dwarf.get_CU_at(offset)
    for unit in dwarf.iter_CUs():
        if _covers(dwarf, unit.get_top_DIE(), address):
            return unit
    return None


def _covers(dwarf: DWARFInfo, entry: DIE, address: int) -> bool:
    """Whether the code of an entry of the debugging information holds an address."""
    return any(low <= address < high for low, high in _ranges(dwarf, entry))


def _ranges(dwarf: DWARFInfo, entry: DIE) -> Iterator[tuple[int, int]]:
    told = entry.attributes
    if "DW_AT_low_pc" in told and "DW_AT_high_pc" in told:
        low, high = told["DW_AT_low_pc"].value, told["DW_AT_high_pc"]
        yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
    elif "DW_AT_ranges" in told and (lists := dwarf.range_lists()):
        top = entry.cu.get_top_DIE().attributes
        base = top["DW_AT_low_pc"].value if "DW_AT_low_pc" in top else 0
        unit = cast("CompileUnit", entry.cu)
        one: Any
        for one in lists.get_range_list_at_offset(told["DW_AT_ranges"].value, cu=unit):
            if hasattr(one, "base_address"):
                base = one.base_address
                continue
            start = 0 if one.is_absolute else base
            yield start + one.begin_offset, start + one.end_offset


def _line(dwarf: DWARFInfo, unit: CompileUnit, address: int) -> _Place | None:
    program = dwarf.line_program_for_CU(unit)
    if program is None:
        return None
    header: Any = program.header
    size = program.program_end_offset - program.program_start_offset
    program.stream.seek(program.program_start_offset)
    best = None
    for row, end in rows(program.stream.read(max(0, size)), header, little=dwarf.config.little_endian):
        # Of several sequences that claim it (removed code has address 0), the closest row is right.
        if row.address <= address < end and (best is None or row.address >= best.address):
            best = row
    if best is None:
        return None
    return _Place(_file(unit, header, best.file), best.line)


def _file(unit: CompileUnit, header: Any, number: int) -> str:
    """Name a file of a line program. Numbers count from 1 before DWARF 5, from 0 since."""
    since_5 = header["version"] >= 5
    files, directories = header["file_entry"], header["include_directory"]
    place = number if since_5 else number - 1
    if not 0 <= place < len(files):
        return "?"
    entry = files[place]
    directory = entry["dir_index"] if since_5 else entry["dir_index"] - 1
    parts = [_text(entry["name"])]
    if 0 <= directory < len(directories):
        parts.insert(0, _text(directories[directory]))
    if not parts[0].startswith("/"):
        told = unit.get_top_DIE().attributes
        compiled_in = told["DW_AT_comp_dir"].value if "DW_AT_comp_dir" in told else b""
        parts.insert(0, _text(compiled_in))
    return _joined(parts)


def _joined(parts: list[str]) -> str:
    path = ""
    for part in parts:
        path = part if part.startswith("/") or not path else f"{path.rstrip('/')}/{part}"
    return path.replace("/./", "/")


def _functions(dwarf: DWARFInfo, unit: CompileUnit, address: int) -> Iterator[str]:
    """Name the functions around an address, innermost first: those inlined, then the one they are in."""
    path: list[str] = []
    entry: DIE | None = unit.get_top_DIE()
    while entry is not None and len(path) < _DEEPEST:
        entry = next((inner for inner in _inside(dwarf, entry) if _covers(dwarf, inner, address)), None)
        if entry is not None and entry.tag in ("DW_TAG_subprogram", _INLINED):
            path.append(_name(dwarf, entry, 8) or "?")
    return reversed(path)


def _inside(dwarf: DWARFInfo, entry: DIE) -> Iterator[DIE]:
    """Yield what may hold code directly below an entry; name spaces are looked through."""
    for child in entry.iter_children():
        if child.tag in ("DW_TAG_subprogram", "DW_TAG_lexical_block", _INLINED):
            yield child
        elif child.tag == "DW_TAG_namespace":
            yield from _inside(dwarf, child)


def _name(dwarf: DWARFInfo, entry: DIE, hops: int) -> str | None:
    """Name a function, which may be described elsewhere; at most ``hops`` steps away."""
    told = entry.attributes
    for name in ("DW_AT_name", "DW_AT_linkage_name"):
        if name in told:
            return _text(told[name].value)
    for name in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if name in told and hops:
            return _name(dwarf, entry.get_DIE_from_attribute(name), hops - 1)
    return None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
