"""Which thread was interrupted by a fault that the process itself caught, read from the stacks.

A process with a handler of its own (uWSGI, faulthandler) dies of what that does last, often kill(getpid()),
which the kernel may hand to an innocent thread. The thread that faulted has on its stack what the kernel put
there to call the handler (rt_sigframe, arch/x86/include/asm/sigframe.h): the address of the code that returns
from it, then the registers. Unwinders do not always get that far: a handler may have called code without
unwind tables.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors.pyobjects import image as loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects.memory import Memory
    from diag.host import CoreView
    from diag.model.core import CoreThread

_RESTORER = bytes.fromhex("48c7c00f0000000f05")  # mov rax, 15; syscall: rt_sigreturn, all of __restore_rt
_LIBC = re.compile(r"libc[.-]|ld-musl")
_AROUND = 16 << 10  # bytes on either side of sigaction(), which the C libraries keep it next to
_GREGS = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax",
          "rcx", "rsp", "rip")  # fmt: skip  # of ucontext_t on x86-64 (sys/ucontext.h)
_REGISTERS = 48  # bytes from the start of the frame; the siginfo_t behind is filled for SA_SIGINFO only
_FRAME = _REGISTERS + 23 * 8
_USER_CODE = 0x33  # the code segment of 64-bit programs
_TRAPS = {0: 8, 4: 11, 5: 11, 6: 4, 11: 7, 12: 11, 13: 11, 14: 11, 17: 7, 19: 8}
"""Trap number of x86 -> signal (arch/x86/kernel/traps.c)."""
_PAGE_FAULT = 14
_SEARCHED = 256 << 10  # bytes of a stack: a handler may have run a whole exit() with its own frames


class At(NamedTuple):
    """The registers at a fault."""

    registers: dict[str, int]
    pc: int
    sp: int
    signal: int
    address: int | None
    handler: bool


def find(
    view: CoreView,
    memory: Memory,
    maps: Sequence[Mapping],
    threads: Iterable[CoreThread],
    met: Iterable[int] = (),
) -> tuple[CoreThread, At] | None:
    """Find the thread that has the frame of a fault's handler, and its registers at the fault.

    ``met``: addresses that return from a handler, where an unwinder has come across them. x86-64 only.
    """
    restorers = {*met, *_restorers(memory, maps)}
    if not restorers:
        return None
    for thread in threads:
        end = next((one.end for one in maps if one.start <= thread.sp < one.end), 0)
        place = (thread.sp, min(end, thread.sp + _SEARCHED))
        hits = view.pointers([place], [(one, one + 1) for one in sorted(restorers)])
        # The outermost comes first: a handler that faulted in its turn is not what began it.
        for hit in reversed(hits.found):
            if found := decode(memory.read(hit.address, _FRAME) or b""):
                return thread, found
    return None


def _restorers(memory: Memory, maps: Sequence[Mapping]) -> Iterator[int]:
    """Yield where the C library returns from a handler."""
    for one in maps:
        if one.offset or not _LIBC.match(one.path.rpartition("/")[2]):
            continue
        image = loaded.load(memory, one)
        near = loaded.symbol(memory, image, "sigaction") if image else None
        if near is None:
            continue
        start = near - _AROUND
        code = memory.read(start, 2 * _AROUND) or b""
        at = code.find(_RESTORER)
        while at >= 0:
            yield start + at
            at = code.find(_RESTORER, at + 1)


def decode(frame: bytes) -> At | None:
    """Read a signal frame from its first byte on; None where it is none of a fault."""
    if len(frame) < _FRAME:
        return None
    words = struct.unpack_from("<23Q", frame, _REGISTERS)
    registers = dict(zip(_GREGS, words, strict=False))
    segments, trap, address = words[18], words[20], words[22]
    if trap not in _TRAPS or segments & 0xFFFF != _USER_CODE:
        return None
    fault = address if trap == _PAGE_FAULT else None
    return At(registers, registers["rip"], registers["rsp"], _TRAPS[trap], fault, handler=True)
