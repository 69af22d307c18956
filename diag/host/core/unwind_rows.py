"""How to get from one frame to its caller, by the tables of .eh_frame (DWARF 5, 6.4; the x86-64 psABI, 3.7).

Every number in these tables is untrusted: readers stop at the end of what they were given, loops are bounded,
and whatever is not understood is no row.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[int, int], bytes]  # address, size -> as many bytes as there are

RSP, RETURN = 7, 16
"""DWARF's numbers of the stack pointer and of the return address on x86-64."""
_HIGHEST_REGISTER = 16
_LARGEST_TABLE = 64 << 20
_LARGEST_ENTRY = 1 << 16
_MOST_STEPS = 10_000
_DATA_RELATIVE_INT = 0x3B  # DW_EH_PE_datarel | DW_EH_PE_sdata4: what every linker writes
_FORMS = {
    0x0: ("<Q", 8), 0x2: ("<H", 2), 0x3: ("<I", 4), 0x4: ("<Q", 8),
    0xA: ("<h", 2), 0xB: ("<i", 4), 0xC: ("<q", 8),
}  # fmt: skip
"""DW_EH_PE_absptr, udata2, 4, 8 and sdata2, 4, 8: how a number is written, and its bytes."""
_WORD = (1 << 64) - 1


class BadTableError(Exception):
    """The tables cannot be understood."""


class Saved(NamedTuple):
    """Where a register of the caller is: at CFA + offset, or where an expression says."""

    offset: int
    expression: bytes = b""
    is_value: bool = False  # it is this address itself, not what lies there


class Row(NamedTuple):
    """What holds at one instruction. CFA: the stack pointer that the caller had before its call."""

    register: int  # CFA = register + offset; -1: by ``expression``
    offset: int
    expression: bytes
    saved: dict[int, Saved]
    signal: bool  # the kernel made this frame, to call a handler
    outermost: bool  # nobody called it


class Table:
    """The table of one file, in memory at ``header``: that of PT_GNU_EH_FRAME."""

    def __init__(self, read: Read, header: int, size: int) -> None:
        """Read the sorted table. Raises ``BadTableError``."""
        self._read, self._header = read, header
        data = read(header, min(size, _LARGEST_TABLE))
        if len(data) < 12 or data[0] != 1 or data[3] != _DATA_RELATIVE_INT or data[2] & 0x70:
            raise BadTableError
        _, width = _FORMS.get(data[1] & 0xF, ("", 0))
        if not width or 4 + width + 4 > len(data):
            raise BadTableError
        (count,) = struct.unpack_from("<I", data, 4 + width)
        start = 4 + width + 4
        count = min(count, (len(data) - start) // 8)
        words = array("i", data[start : start + 8 * count])
        self._starts, self._entries = words[::2], words[1::2]

    def row(self, pc: int) -> Row | None:
        """Find what holds at an address; None where the table has nothing. Raises ``BadTableError``."""
        number = bisect_right(self._starts, pc - self._header) - 1
        if number < 0:
            return None
        return self._from_entry(self._header + self._entries[number], pc)

    def _from_entry(self, address: int, pc: int) -> Row | None:
        entry = _Cursor(self._entry(address), address)
        entry.skip(4)
        at = entry.address
        common = _Cursor(self._entry(at - entry.number("<I")), 0)
        about = _common(common)
        start = _pointer(entry, about.encoding)
        length = _pointer(entry, about.encoding & 0xF)
        if not start <= pc < start + length:
            return None
        if about.augmented:
            entry.skip(entry.unsigned())
        return _run(about, entry, start, pc)

    def _entry(self, address: int) -> bytes:
        head = self._read(address, 4)
        length = int.from_bytes(head, "little")
        if len(head) < 4 or not 4 <= length <= _LARGEST_ENTRY:
            raise BadTableError
        return self._read(address, 4 + length)


class _Cursor:
    """Reads numbers one after the other; ``address`` is where the next one lies in memory."""

    def __init__(self, data: bytes, address: int) -> None:
        self._data, self._base, self._at = data, address, 0

    @property
    def address(self) -> int:
        return self._base + self._at

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def skip(self, size: int) -> None:
        self._at += size

    def number(self, form: str) -> int:
        try:
            (value,) = struct.unpack_from(form, self._data, self._at)
        except struct.error as error:
            raise BadTableError from error
        self._at += struct.calcsize(form)
        return int(value)

    def unsigned(self) -> int:
        """ULEB128."""
        value = shift = 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 63:
                return value

    def signed(self) -> int:
        """SLEB128."""
        value = shift = 0
        while True:
            byte = self.number("B")
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 63:
                return value - (1 << shift) if byte & 0x40 else value

    def block(self) -> bytes:
        size = self.unsigned()
        data = self._data[self._at : self._at + size]
        self._at += size
        return data

    def text(self) -> bytes:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise BadTableError
        data = self._data[self._at : end]
        self._at = end + 1
        return data

    def rest(self) -> _Cursor:
        return _Cursor(self._data[self._at :], self.address)


class _Common(NamedTuple):
    """What many entries share (a CIE)."""

    code_factor: int
    data_factor: int
    encoding: int  # of addresses in its entries
    augmented: bool
    signal: bool
    program: _Cursor


def _common(entry: _Cursor) -> _Common:
    entry.skip(4)
    if entry.number("<I"):
        raise BadTableError
    version, augmentation = entry.number("B"), entry.text()
    code, data = entry.unsigned(), entry.signed()
    if (entry.number("B") if version == 1 else entry.unsigned()) != RETURN:
        raise BadTableError
    encoding, end = 0, 0
    if augmentation.startswith(b"z"):
        size = entry.unsigned()
        end = entry.address + size
        for letter in augmentation[1:]:
            if letter == ord("R"):
                encoding = entry.number("B")
            elif letter == ord("L"):
                entry.skip(1)
            elif letter == ord("P"):
                _pointer(entry, entry.number("B") & 0xF)
            elif letter != ord("S"):
                break
        entry.skip(end - entry.address)
    elif augmentation:
        raise BadTableError
    return _Common(code, data, encoding, bool(end), b"S" in augmentation, entry.rest())


def _pointer(entry: _Cursor, encoding: int) -> int:
    if encoding & 0xF in (1, 9):
        return entry.unsigned() if encoding & 0xF == 1 else entry.signed()
    form, _ = _FORMS.get(encoding & 0xF, ("", 0))
    if not form or encoding & 0x70 not in (0, 0x10):
        raise BadTableError
    base = entry.address if encoding & 0x70 else 0  # DW_EH_PE_pcrel
    return base + entry.number(form) & _WORD


class _State:
    """The row that the program is about to end at."""

    def __init__(self) -> None:
        self.register, self.offset, self.expression = RSP, 8, b""
        self.saved: dict[int, Saved] = {}
        self.undefined: set[int] = set()

    def copy(self) -> _State:
        other = _State()
        other.register, other.offset, other.expression = self.register, self.offset, self.expression
        other.saved, other.undefined = dict(self.saved), set(self.undefined)
        return other

    def keep(self, register: int, saved: Saved) -> None:
        self.undefined.discard(register)
        if register <= _HIGHEST_REGISTER:
            self.saved[register] = saved

    def lose(self, register: int) -> None:
        self.saved.pop(register, None)
        self.undefined.add(register)


def _run(about: _Common, entry: _Cursor, start: int, pc: int) -> Row:
    """Run the program of a CIE and of one of its entries up to ``pc``."""
    first = _Program(about, start, pc, _State())
    first.run(about.program)
    own = _Program(about, start, pc, first.state.copy())
    own.initial = first.state
    own.run(entry)
    state = own.state
    return Row(
        register=-1 if state.expression else state.register,
        offset=state.offset,
        expression=state.expression,
        saved=state.saved,
        signal=about.signal,
        outermost=RETURN in state.undefined,
    )


class _Program:
    """Call frame instructions (DWARF 5, 6.4.2)."""

    def __init__(self, about: _Common, start: int, pc: int, state: _State) -> None:
        self._about, self._at, self._pc = about, start, pc
        self.state = self.initial = state
        self._kept: list[_State] = []

    def run(self, code: _Cursor) -> None:
        for _ in range(_MOST_STEPS):
            if not code.more or self._at > self._pc:
                return
            byte = code.number("B")
            kind, low = byte & 0xC0, byte & 0x3F
            if kind == 0x40:
                self._advance(low)
            elif kind == 0x80:
                self._offset(low, code.unsigned())
            elif kind == 0xC0:
                self._restore(low)
            else:
                self._other(low, code)
        raise BadTableError

    def _advance(self, by: int) -> None:
        self._at += by * self._about.code_factor

    def _offset(self, register: int, factored: int) -> None:
        self.state.keep(register, Saved(factored * self._about.data_factor))

    def _restore(self, register: int) -> None:
        if register in self.initial.saved:
            self.state.keep(register, self.initial.saved[register])
        else:
            self.state.saved.pop(register, None)
            self.state.undefined.discard(register)

    def _other(self, code: int, words: _Cursor) -> None:
        state, factor = self.state, self._about.data_factor
        match code:
            case 0x00:  # nop
                pass
            case 0x02 | 0x03 | 0x04:  # advance_loc1, 2, 4
                self._advance(words.number({2: "B", 3: "<H", 4: "<I"}[code]))
            case 0x05:  # offset_extended
                self._offset(words.unsigned(), words.unsigned())
            case 0x06:  # restore_extended
                self._restore(words.unsigned())
            case 0x07:  # undefined
                state.lose(words.unsigned())
            case 0x08:  # same_value
                self.state.saved.pop(words.unsigned(), None)
            case 0x0A:  # remember_state
                self._kept.append(state.copy())
            case 0x0B:  # restore_state
                if not self._kept:
                    raise BadTableError
                self.state = self._kept.pop()
            case 0x0C:  # def_cfa
                state.register, state.offset, state.expression = words.unsigned(), words.unsigned(), b""
            case 0x0D:  # def_cfa_register
                state.register = words.unsigned()
            case 0x0E:  # def_cfa_offset
                state.offset = words.unsigned()
            case 0x0F:  # def_cfa_expression
                state.expression = words.block()
            case 0x10 | 0x16:  # expression, val_expression
                register = words.unsigned()
                state.keep(register, Saved(0, words.block(), is_value=code == 0x16))
            case 0x11:  # offset_extended_sf
                state.keep(words.unsigned(), Saved(words.signed() * factor))
            case 0x12:  # def_cfa_sf
                state.register, state.offset = words.unsigned(), words.signed() * factor
                state.expression = b""
            case 0x13:  # def_cfa_offset_sf
                state.offset = words.signed() * factor
            case 0x14:  # val_offset
                state.keep(words.unsigned(), Saved(words.unsigned() * factor, is_value=True))
            case 0x2E:  # GNU_args_size
                words.unsigned()
            case _:
                raise BadTableError
