"""Code, functions, and the frames of coroutines and greenlets: where they stand, what they await."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import lines, scalars
from diag.model.facts import Where
from diag.model.pyobjects import TaskFrame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects.reader import Reader

MOST_FRAMES = 200
MOST_LOCALS = 64
_LONGEST_TABLE = 1 << 16
GENERATORS = ("coroutine", "generator", "async_generator")
_DELEGATING = (
    "coroutine_wrapper",  # what __await__ of a coroutine gives
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
)
_ALIVE = (0, -1, -2)  # gi_frame_state: executing; suspended (3.11); 3.13 tells two kinds of suspended apart


class Frame(NamedTuple):
    """One frame in memory."""

    address: int
    code: int
    back: int


def frame_at(reader: Reader, address: int) -> Frame | None:
    """Read a frame (3.11 and later: an interpreter frame), which must have a code object."""
    layout, memory = reader.layout, reader.memory
    code = memory.word(address + layout.frame_code) or 0
    code &= ~7  # 3.14 keeps tags in the low bits
    if not code or not reader.is_a(code, "code"):
        return None
    return Frame(address, code, memory.word(address + layout.frame_back) or 0)


def generator_frame(reader: Reader, address: int) -> Frame | None:
    """Find the frame of a generator or coroutine; None before it has begun and when it has ended."""
    if not reader.is_a(address, *GENERATORS):
        return None
    layout, memory = reader.layout, reader.memory
    if layout.has_frame_object:
        pointer = memory.word(address + layout.generator_frame)
        return frame_at(reader, pointer) if pointer else None
    state = memory.read(address + layout.frame_state, 1)
    if state is None or int.from_bytes(state, "little", signed=True) not in _ALIVE:
        return None
    return frame_at(reader, address + layout.generator_frame)


def awaited_by(reader: Reader, frame: Frame) -> int | None:
    """Find what a suspended frame awaits: the value on top of its stack; None when the stack is empty."""
    layout, memory = reader.layout, reader.memory
    bottom = stack_of(reader, frame)
    if layout.version < (3, 10):
        top = memory.word(frame.address + layout.frame_top)
    elif layout.version == (3, 10):
        depth = memory.int32(frame.address + layout.frame_top)
        top = bottom + 8 * depth if bottom and depth is not None and 0 <= depth < 1 << 16 else None
    else:
        base = frame.address + layout.frame_locals
        if layout.parking:  # 3.14: a pointer
            top = memory.word(frame.address + layout.frame_top)
        else:
            depth = memory.int32(frame.address + layout.frame_top)
            top = base + 8 * depth if depth is not None and 0 <= depth < 1 << 16 else None
    if not top or not bottom or not bottom < top < bottom + (1 << 16):
        return None
    return (memory.word(top - 8) or 0) & ~7 or None


def stack_of(reader: Reader, frame: Frame) -> int | None:
    """Where the value stack of a frame begins."""
    layout = reader.layout
    if layout.has_frame_object:
        return reader.memory.word(frame.address + layout.frame_stack)
    count = reader.memory.int32(frame.code + layout.code_slots)
    in_reason = count is not None and 0 <= count < 1 << 16
    return frame.address + layout.frame_locals + 8 * (count or 0) if in_reason else None


def globals_of(reader: Reader, frame: Frame) -> int:
    """Address of the dictionary of a frame's globals; 0 where there is none."""
    address = reader.memory.word(frame.address + reader.layout.frame_globals) or 0
    return address if address and reader.is_a(address, "dict") else 0


def names_at(reader: Reader, code: int) -> int:
    """Address of the tuple of names that a code object asks its globals and other objects for (co_names)."""
    return reader.memory.word(code + reader.layout.code_globals) or 0


def chain(reader: Reader, address: int) -> tuple[tuple[TaskFrame, ...], int | None]:
    """Follow a coroutine through what it awaits: frames, innermost first, and what the last one awaits."""
    found: list[TaskFrame] = []
    seen: set[int] = set()
    current: int | None = address
    while current and current not in seen and len(found) < MOST_FRAMES:
        seen.add(current)
        if reader.is_a(current, *_DELEGATING):
            current = reader.memory.word(current + 16)
            continue
        frame = generator_frame(reader, current)
        if frame is None:
            break
        found.append(describe(reader, frame))
        current = awaited_by(reader, frame)
    return tuple(reversed(found)), None if current == address else current


def delegate(reader: Reader, address: int) -> int | None:
    """Find the coroutine or generator that a coroutine awaits itself."""
    frame = generator_frame(reader, address)
    current = awaited_by(reader, frame) if frame else None
    for _ in range(len(_DELEGATING)):
        if current and reader.is_a(current, *_DELEGATING):
            current = reader.memory.word(current + 16)
    return current


def back_chain(reader: Reader, address: int) -> Iterator[TaskFrame]:
    """Yield a frame and those that called it, innermost first."""
    for frame, _ in walk(reader, address):
        yield describe(reader, frame)


def walk(reader: Reader, address: int) -> Iterator[tuple[Frame, bool]]:
    """Yield a frame and those that called it, innermost first, each with whether C called it."""
    last: tuple[Frame, bool] | None = None
    seen: set[int] = set()
    while address and address not in seen and len(seen) < MOST_FRAMES:
        seen.add(address)
        if is_between(reader, address):
            if last is not None:
                yield last[0], True
                last = None
            address = reader.memory.word(address + reader.layout.frame_back) or 0
            continue
        frame = frame_at(reader, address)
        if frame is None:
            break
        if last is not None:
            yield last
        last = frame, _is_entry(reader, address)
        address = frame.back
    if last is not None:
        yield last


def _is_entry(reader: Reader, address: int) -> bool:
    """Whether a frame has an evaluation loop of its own: up to 3.10 each has, in 3.11 a byte tells."""
    if reader.layout.has_frame_object:
        return True
    data = reader.memory.read(address + reader.layout.frame_entry, 1) if reader.layout.frame_entry else None
    return data is not None and data[0] == 1


def is_between(reader: Reader, address: int) -> bool:
    """Whether this is no Python frame but the interpreter's own, on the C stack (3.12 and later)."""
    owner = reader.memory.read(address + reader.layout.frame_owner, 1) if reader.layout.frame_owner else None
    return owner is not None and owner[0] in (3, 4)


def describe(reader: Reader, frame: Frame) -> TaskFrame:
    """Say where a frame stands, and which objects its variables are."""
    return TaskFrame(
        where=where(reader, frame.code, _offset(reader, frame)), locals=tuple(_locals(reader, frame))
    )


def _offset(reader: Reader, frame: Frame) -> int | None:
    """Offset, in bytes of byte code, of the instruction a frame stands at; None before its first."""
    layout, memory = reader.layout, reader.memory
    if not layout.code_instructions:
        last = memory.int32(frame.address + layout.frame_last)
        if last is None or last < 0:
            return None
        return 2 * last if layout.lines_form == "lines" else last  # 3.10 counts instructions
    pointer = memory.word(frame.address + layout.frame_last)
    offset = (pointer or 0) - frame.code - layout.code_instructions
    return offset if 0 <= offset < 1 << 24 else None


def where(reader: Reader, code: int, offset: int | None = None) -> Where:
    """Name the place of an instruction of a code object; without an offset, its first line.

    Code does not change: a hundred workers that stand at one line are read once.
    """
    if (code, offset) not in reader.places:
        reader.places[code, offset] = _where(reader, code, offset)
    return reader.places[code, offset]


def _where(reader: Reader, code: int, offset: int | None) -> Where:
    layout, memory = reader.layout, reader.memory
    first = memory.int32(code + layout.code_first_line) or 0
    line = first
    table = memory.word(code + layout.code_lines)
    if offset is not None and table:
        data = scalars.some_bytes(memory, table, reader.bytes_data, _LONGEST_TABLE) or b""
        is_signed = layout.version > (2, 7)
        line = lines.line_of(layout.lines_form, data, first, offset, signed=is_signed) or first
    name = memory.word(code + layout.code_name)
    file = memory.word(code + layout.code_file)
    return Where(
        function=(reader.text(name) if name else None) or "?",
        file=(reader.text(file) if file else None) or "?",
        line=line if 0 <= line < 1 << 24 else 0,
    )


def _locals(reader: Reader, frame: Frame) -> Iterator[tuple[str, int]]:
    if frame.code not in reader.variables:
        reader.variables[frame.code] = tuple(_names(reader, frame.code))
    names = reader.variables[frame.code]
    values = reader.memory.words(frame.address + reader.layout.frame_locals, len(names))
    for text, word in zip(names, values, strict=False):
        value = word & ~7
        if value and reader.is_a(value, "cell"):
            value = reader.memory.word(value + 16) or 0
        if text is not None and value:
            yield text, value


def _names(reader: Reader, code: int) -> Iterator[str | None]:
    """The names of a code object's variables, in the order of their places in a frame."""
    found = (
        one
        for at in reader.layout.code_names
        for one in reader.elements_of_tuple(reader.memory.word(code + at) or 0)
    )
    for name in islice(found, MOST_LOCALS):
        yield reader.text(name)


def function_where(reader: Reader, address: int) -> Where | None:
    """Name the place of a function, bound method, partial or generator; None for what is none in Python."""
    for _ in range(8):
        if reader.is_a(address, "function"):
            code = reader.memory.word(address + reader.layout.function_code)
            return where(reader, code) if code and reader.is_a(code, "code") else None
        if reader.is_a(address, *GENERATORS):
            frame = generator_frame(reader, address)
            return where(reader, frame.code, _offset(reader, frame)) if frame else None
        if reader.is_a(address, "method", "instancemethod", "functools.partial"):
            address = reader.memory.word(address + 16) or 0  # im_func, or the partial's fn
            continue
        break
    return None
