"""Finds the interpreter in a process: its version, its layout, its ``sys`` dictionary.

Nothing is believed by name: a layout counts only when ``sys.hexversion``, read through it, says the
layout's own version.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import image
from diag.collectors.pyobjects.layouts import COOKIE, LAYOUTS, Layout
from diag.collectors.pyobjects.memory import HIGHEST
from diag.collectors.pyobjects.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects.memory import Memory

MOST_DATA = 1 << 20
"""Bytes of the interpreter's own variables that are searched (2.7 and 3.6, which export no head)."""
_RUNTIME_WORDS = 128
_SYS_WORDS = 1200


class Found(NamedTuple):
    """An interpreter that was understood."""

    reader: Reader
    version: tuple[int, int, int]
    interpreter: int  # address of the first PyInterpreterState
    sys: int  # address of the dictionary of module sys


class Missing(NamedTuple):
    """Why there is none."""

    reason: str


def find(memory: Memory, maps: Sequence[Mapping]) -> Found | Missing:
    """Find the interpreter among the mappings of a process."""
    reason = "no Python interpreter is mapped"
    for mapping in image.candidates(maps):
        loaded = image.load(memory, mapping)
        if loaded is None or image.symbol(memory, loaded, "PyType_Type") is None:
            continue
        if _is_free_threaded(memory, loaded):
            return Missing("the interpreter is a free-threaded build, whose layout is not known")
        reason = f"the layout of the interpreter in {mapping.path} is not known"
        likely = _version(memory, loaded) or image.version_named(maps)
        for layout in sorted(LAYOUTS.values(), key=lambda layout: layout.version != likely):
            for place in _places(memory, loaded, layout, maps):
                if found := _understood(memory, layout, place):
                    return found
        if likely in LAYOUTS:
            for place in _moved(memory, loaded):
                if found := _understood(memory, LAYOUTS[likely], place):
                    return found
    return Missing(reason)


def _version(memory: Memory, loaded: image.Image) -> tuple[int, int] | None:
    """Read the version an interpreter exports, as 3.11 and later do."""
    address = image.symbol(memory, loaded, "Py_Version")
    number = memory.word(address) if address else None
    return (number >> 24 & 0xFF, number >> 16 & 0xFF) if number else None


def _places(
    memory: Memory, loaded: image.Image, layout: Layout, maps: Sequence[Mapping]
) -> Iterator[tuple[int, int]]:
    """Yield where (a PyInterpreterState, its ``sysdict`` field) should be by a layout."""
    runtime = image.symbol(memory, loaded, "_PyRuntime")
    if runtime is None:
        if layout.version < (3, 7):
            for one in _by_threads(memory, loaded, layout, maps):
                yield one, one + layout.interpreter_sys
        return
    for head, field in _own_offsets(memory, runtime):
        if state := memory.word(runtime + head):
            yield state, state + field
    if layout.runtime_head and (state := memory.word(runtime + layout.runtime_head)):
        yield state, state + layout.interpreter_sys


def _moved(memory: Memory, loaded: image.Image) -> Iterator[tuple[int, int]]:
    """Yield where they may be in a patch release that moved the fields: any dict near the beginning."""
    runtime = image.symbol(memory, loaded, "_PyRuntime")
    dictionary = image.symbol(memory, loaded, "PyDict_Type")
    for one in dict.fromkeys(memory.words(runtime, _RUNTIME_WORDS) if runtime else ()):
        for at, word in enumerate(memory.words(one, _SYS_WORDS) if _is_pointer(one) else ()):
            if _is_pointer(word) and memory.word(word + 8) == dictionary:
                yield one, one + 8 * at


def _is_pointer(word: int) -> bool:
    return word % 8 == 0 and 1 << 16 <= word < HIGHEST


def _own_offsets(memory: Memory, runtime: int) -> tuple[tuple[int, int], ...]:
    """Read (interpreters.head, sysdict) from the table that 3.13 and later carry of themselves."""
    data = memory.read(runtime, 128)
    if data is None or data[:8] != COOKIE:
        return ()
    words = struct.unpack_from("<15Q", data, 8)
    # Counted from the version: 0 version, 1 free-threaded, 4 head; sysdict is 11th, in 3.14 12th.
    return tuple((words[4], words[at]) for at in (11, 12) if words[4] < 1 << 20 and words[at] < 1 << 24)


def _is_free_threaded(memory: Memory, loaded: image.Image) -> bool:
    runtime = image.symbol(memory, loaded, "_PyRuntime")
    data = memory.read(runtime, 24) if runtime else None
    return data is not None and data[:8] == COOKIE and data[16] != 0


def _by_threads(
    memory: Memory, loaded: image.Image, layout: Layout, maps: Sequence[Mapping]
) -> Iterator[int]:
    """Find a state whose first thread points back to it: by the thread that has the interpreter lock.

    Where none has it, the interpreter's variables are searched, which takes a hundred times as long.
    """
    current = image.symbol(memory, loaded, "_PyThreadState_Current")
    state = memory.word(current) if current else None
    one = memory.word(state + layout.thread_interpreter) if state and _is_pointer(state) else None
    if one and _is_pointer(one) and _leads_back(memory, layout, one):
        yield one
    for start, end in _variables(loaded, maps):
        tried = set()
        for one in memory.words(start, min(end - start, MOST_DATA) // 8):
            if not _is_pointer(one) or one in tried:
                continue
            tried.add(one)
            if _leads_back(memory, layout, one):
                yield one


def _leads_back(memory: Memory, layout: Layout, state: int) -> bool:
    """Whether the first thread of what may be a PyInterpreterState belongs to it."""
    thread = memory.word(state + layout.interpreter_threads)
    return bool(thread and _is_pointer(thread) and memory.word(thread + layout.thread_interpreter) == state)


def _variables(loaded: image.Image, maps: Sequence[Mapping]) -> Iterator[tuple[int, int]]:
    for item, after in zip(maps, (*maps[1:], None), strict=True):
        if item.path == loaded.path and item.access.startswith("rw"):
            if after and after.start == item.end and not after.path and after.access.startswith("rw"):
                yield after.start, after.end  # .bss, where the head is
            yield item.start, item.end


def _understood(memory: Memory, layout: Layout, place: tuple[int, int]) -> Found | None:
    """Believe a layout when sys.hexversion, read with it, is its own version."""
    interpreter, field = place
    reader = Reader(memory, layout)
    sys = memory.word(field)
    kind = reader.type_of(sys) if sys else None
    if not sys or kind is None or kind.name != "dict":
        return None
    number = reader.integer(reader.find(sys, "hexversion"))
    if number is None or (number >> 24, number >> 16 & 0xFF) != layout.version:
        return None
    reader.wide = reader.integer(reader.find(sys, "maxunicode")) != 0xFFFF
    return Found(reader, (number >> 24, number >> 16 & 0xFF, number >> 8 & 0xFF), interpreter, sys)
