"""What an interpreter or C library was about to say when it ended the process: texts in a core's memory."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from diag.collectors.pyobjects import image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects.memory import Memory
    from diag.model.core import CoreThread
    from diag.model.facts import Frame

_STACK = 16 << 10
"""Bytes of stack on either side of the stack pointer: what a function that has returned wrote there stays."""
_CALLERS = 8
_BEFORE = 48  # bytes of code before a call in which its arguments are loaded
_LOADS = re.compile(rb"\x48\x8d[\x35\x3d\x15]")  # lea rsi|rdi|rdx, [rip + 32 bits] (x86-64)
_PRINTED = re.compile(rb"Fatal Python error: [^\0\n]{4,300}")
_TEXT = re.compile(r"[\x20-\x7e\n\t]{12,}")
_MESSAGE = re.compile(
    r"GC object already tracked|deallocating None|negative ref ?count|refcount is too small|refcount error"
    r"|object .* is freed|_PyObject_AssertFailed|unreachable|double free|corrupted|invalid (?:pointer|size)"
    r"|memory corruption|stack smashing|stack overflow|buffer overflow|recursion|GIL|Assertion|thread state"
    r"|Fatal Python error|bad ID|bad (?:leading|trailing) pad byte",
    re.IGNORECASE,
)


def collect(
    memory: Memory, maps: Sequence[Mapping], thread: CoreThread, frames: Sequence[Frame]
) -> Iterator[tuple[str, str]]:
    """Yield (where it was read, text): the C library's abort message, then what its callers held ready."""
    yield from _abort_message(memory, maps)
    for start in (thread.sp - _STACK, thread.sp):
        if found := _PRINTED.search(memory.some(start, _STACK)):
            yield "the dying thread's stack", found[0].decode("utf-8", "replace").strip()
            break
    yield from _arguments(memory, frames)


def _arguments(memory: Memory, frames: Sequence[Frame]) -> Iterator[tuple[str, str]]:
    """Read the texts that were loaded for the calls the thread died in: messages are literals of the code."""
    seen = set()
    for frame in frames[:_CALLERS]:
        code = memory.read(frame.address - _BEFORE, _BEFORE) or b""
        for found in _LOADS.finditer(code):
            if found.end() + 4 > len(code):
                continue
            (distance,) = struct.unpack_from("<i", code, found.end())
            place = frame.address - _BEFORE + found.end() + 4 + distance
            text = memory.text(place, 200)
            if (
                text
                and text not in seen
                and _TEXT.fullmatch(text)
                and "%" not in text
                and _MESSAGE.search(text)
            ):
                seen.add(text)
                yield f"the argument of a call in {frame.function}", text.strip()


def _abort_message(memory: Memory, maps: Sequence[Mapping]) -> Iterator[tuple[str, str]]:
    """Read glibc's ``__abort_msg``: {unsigned size; char text[]} (sysdeps/posix/libc_fatal.c)."""
    for one in maps:
        name = one.path.rpartition("/")[2]
        if one.offset or not (name.startswith(("libc.so", "libc-2"))):
            continue
        loaded = image.load(memory, one)
        place = image.symbol(memory, loaded, "__abort_msg") if loaded else None
        pointer = memory.word(place) if place else None
        if pointer and (text := memory.text(pointer + 4, 400)) and text.strip():
            yield f"__abort_msg of {one.path}", text.strip()
        return
