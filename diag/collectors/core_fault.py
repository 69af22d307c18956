"""What happened at the instruction a core's thread died at: from registers, mappings and the code itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import last_words, past_calls, signal_frames
from diag.collectors.native_names import Names
from diag.collectors.native_stacks import SIGNAL_FRAMES
from diag.collectors.pyobjects import gil
from diag.collectors.pyobjects.memory import HIGHEST, Memory
from diag.collectors.signal_frames import At
from diag.model.core import BadObject, CoreFault
from diag.model.facts import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping as Registers
    from collections.abc import Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects import PyObjects
    from diag.host import CoreView
    from diag.model.core import CoreImage, CoreThread

PAGE = 4096
_INTERPRETER = re.compile(r"libpython\d[^/]*$|/(?:python|pypy)[\d.]*[a-z]*$")
GUARD = 1 << 20
"""Bytes below a stack that count as run over: as many the kernel keeps free below the main one."""
_TYPE_WORDS = 51  # of a PyTypeObject


def collect(
    view: CoreView,
    image: CoreImage,
    maps: Sequence[Mapping],
    frames: Registers[int, Sequence[Frame]],
    objects: PyObjects | None,
) -> CoreFault | None:
    """Explain the fault of the thread that died; None where none did. ``frames``: C frames by thread id."""
    memory = Memory(view, image.pid)
    thread, at = _where(view, image, memory, maps, frames)
    if thread is None or at is None:
        return None
    here = _mapping(maps, at.pc)
    stack = _stack(maps, at.sp)
    instruction, words, base = (
        _decoded(image.machine, memory, at) if here and "x" in here.access else ("", (), None)
    )
    return CoreFault(
        tid=thread.tid,
        signal=at.signal,
        pc=at.pc,
        sp=at.sp,
        seen=bool(at.registers),
        address=at.address,
        handler=at.handler,
        code=here.access if here else "",
        library=here.path if here and here.path.startswith("/") else None,
        offset=at.pc - here.start + here.offset if here and here.path.startswith("/") else None,
        instruction=instruction,
        words=words,
        stack=stack,
        overflowed=_overflowed(stack, at),
        bad_object=_checked(view, image, memory, at, _bad_object(objects, at, base) if objects else None),
        lockless=_is_lockless(objects, image, thread, here),
        called_from=None if here and "x" in here.access else _caller(view, image, memory, maps, at),
        said=tuple(last_words.collect(memory, maps, thread, frames.get(thread.tid, ()))),
    )


def _where(
    view: CoreView,
    image: CoreImage,
    memory: Memory,
    maps: Sequence[Mapping],
    frames: Registers[int, Sequence[Frame]],
) -> tuple[CoreThread | None, At | None]:
    """Find the thread that died, and its registers then: one with the frame of a handler, or the first."""
    if image.machine == "x86_64":
        met = [one.address for stack in frames.values() for one in stack if one.function in SIGNAL_FRAMES]
        if found := signal_frames.find(view, memory, maps, image.threads, met):
            return found
    if not image.threads:
        return None, None
    thread = image.threads[0]
    signal = image.signal
    return thread, At(
        dict(thread.registers), thread.pc, thread.sp, signal.number, signal.address, handler=False
    )


def _mapping(maps: Sequence[Mapping], address: int) -> Mapping | None:
    return next((one for one in maps if one.start <= address < one.end), None)


def _stack(maps: Sequence[Mapping], sp: int) -> tuple[int, int] | None:
    """The stack of a thread: the writable mapping that the stack pointer lies in, or just below of."""
    for one in maps:
        if one.access.startswith("rw") and one.start - GUARD <= sp < one.end:
            return one.start, one.end
    return None


def _overflowed(stack: tuple[int, int] | None, at: At) -> bool:
    """Whether the access went below the stack: into its guard page, or where the kernel lets it not grow.

    The stack pointer must be near the end too, else it is a wild pointer that by chance points there.
    """
    if stack is None or at.address is None or at.signal != 11:
        return False
    return stack[0] - GUARD <= at.address < stack[0] and at.sp - stack[0] < GUARD // 4


def _caller(
    view: CoreView, image: CoreImage, memory: Memory, maps: Sequence[Mapping], at: At
) -> Frame | None:
    """Name who made a call to where no code is: its return address lies on top of the stack (x86-64).

    Unwinders know no way out of such a place.
    """
    address = memory.word(at.sp) if image.machine == "x86_64" else None
    place = _mapping(maps, address) if address else None
    if address is None or place is None or "x" not in place.access or not place.path.startswith("/"):
        return None
    if not past_calls.is_return(memory, image.machine, address):
        return None
    unnamed = Frame(function="?", file=place.path, line=0, native=True, library=place.path, address=address)
    return Names.of(view, image).named(unnamed)


def _decoded(machine: str, memory: Memory, at: At) -> tuple[str, tuple[str, ...], int | None]:
    """Decode the instruction at pc; say what it accessed; return the bad pointer it went through."""
    from diag.collectors import instruction  # noqa: PLC0415 - capstone loads only when used

    return instruction.explain(machine, memory.some(at.pc, 16), at.registers, at.address)


def _is_lockless(
    objects: PyObjects | None, image: CoreImage, thread: CoreThread, here: Mapping | None
) -> bool:
    """Whether a thread died in the interpreter's code while another thread, or nobody, had its lock."""
    if objects is None or here is None or not _INTERPRETER.search(here.path):
        return False
    lock = gil.lock(objects, {one.tls: one.tid for one in image.threads if one.tls})
    return lock is not None and lock.holder != thread.tid and (lock.holder is not None or not lock.taken)


def _checked(
    view: CoreView, image: CoreImage, memory: Memory, at: At, bad: BadObject | None
) -> BadObject | None:
    """Add to an object without a type (NULL or a small number) whether it was one to the code that failed."""
    if bad is None or bad.type_address >= PAGE:
        return bad
    from diag.collectors import type_loads  # noqa: PLC0415 - loads only when used

    return replace(
        bad, used_as_type=type_loads.is_type(Names.of(view, image), image, memory, at.pc, at.registers)
    )


def _bad_object(objects: PyObjects, at: At, base: int | None) -> BadObject | None:
    """Find the object whose header is not true: the pointer that failed is its type, or its count is wild.

    ``base``: the register value that the failing access went through. Of an object {count, type}, the type
    was just read; the register that points to it is still there.
    """
    for name, value in at.registers.items():
        if not 1 << 16 <= value < HIGHEST or name in ("rip", "rsp", "rbp"):
            continue
        words = objects.memory.words(value, 2)
        if len(words) < 2:
            continue
        count, kind = words
        if not (kind == base if base is not None else _holds(objects, kind, at.pc)):
            continue
        if why := _wrong(objects, count, kind):
            return BadObject(address=value, register=name, count=count, type_address=kind, why=why)
    return None


def _wrong(objects: PyObjects, count: int, kind: int) -> str:
    """Say what cannot be true of an object's header; "" where nothing is."""
    is_type = objects.types.at(kind) is not None
    if 1 << 16 <= count < HIGHEST and count % 8 == 0 and objects.memory.read(count, 8) is not None:
        return "" if is_type else "its memory was freed: where its count was stands the link of a free list"
    if not is_type:
        return "its type pointer leads to no type"
    return "" if plausible(objects, count) else "its reference count is impossible"


def _holds(objects: PyObjects, kind: int, pc: int) -> bool:
    """Whether a bad jump went to one of the pointers to functions that a type has: it is none."""
    return pc in objects.memory.words(kind, _TYPE_WORDS)


def plausible(objects: PyObjects, count: int) -> bool:
    """Whether a number can be a reference count: positive, and fewer than there can be pointers.

    From 3.12 on the low half counts, and immortal objects have its top bits set (PEP 683).
    """
    if objects.version >= (3, 12):
        count &= 0xFFFFFFFF
        return 0 < count <= 0xFFFFFFFF
    return 0 < count < 1 << 40
