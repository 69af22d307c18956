"""What the numbers of a crash line mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model import fault_codes
from diag.model.mangled import readable

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent, CrashGroup

# Bits of the x86 page-fault error code, arch/x86/include/asm/trap_pf.h.
PRESENT, WRITE, FETCH, KEY, SHADOW = 0x1, 0x2, 0x10, 0x20, 0x40

_TRAP_SIGNALS = {
    "trap divide error": 8,
    "trap int3": 5,
    "trap invalid opcode": 4,
    "trap bounds": 11,
    "trap overflow": 11,
    "trap stack segment": 7,
    "trap segment not present": 7,
    "trap alignment check": 7,
}
NAMES = {
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    31: "SIGSYS",
}

CAUGHT = frozenset({"go", "jvm", "mysqld", "ruby", "samba", "uwsgi-segv"})
"""Forms of reports whose writer has caught the signal of its own death: the kernel prints no line then
(unhandled_signal() of kernel/signal.c)."""

# x86-64 without five-level page tables: the main thread's stack begins at most 16 GiB (its random
# offset) below 0x7ffffffff000; mappings, threads' stacks among them, lie below that and a gap
# (mmap_base() of arch/x86/mm/mmap.c).
_STACKS = 0x7FFBFF700000
_MAPPINGS = 0x6F0000000000  # mmap_base with the largest random offset (vm.mmap_rnd_bits = 32)
_NO_RANDOM = 0x7FFFF8000000  # the same border with randomisation switched off (as gdb does)
_LEGACY = (0x2AAAAAAAA000, 0x2C0000000000)  # bottom-up layout: mappings begin at a third
_USER_END = 0x800000000000
_KERNEL_HALF = 1 << 63

RED_ZONE = 256  # bytes below sp that code may touch: 128 of red zone, and a push


def signal(event: CrashEvent) -> int | None:
    """Return the signal that ended the thread."""
    if event.signal:
        return event.signal
    if event.trap:
        return _TRAP_SIGNALS.get(event.trap, 11)
    return fault_codes.signal(event)


def access(event: CrashEvent) -> str | None:
    """Tell what was tried: ``read``, ``write`` or ``execute``; None where the line does not tell."""
    if event.jumped:
        return "execute"
    if event.error is not None and event.kind in {"x86-segfault", "truncated"} and event.trap is None:
        return "write" if event.error & WRITE else "read"
    if (tried := fault_codes.access(event)) is not None:
        return tried
    told = event.detail("access")
    return str(told) if told else None


def page(event: CrashEvent) -> str | None:
    """Tell what was wrong with the page, in words, from the error code.

    Of x86: "not present" does not mean unmapped: a read-only page that nobody has touched yet is not present
    either (measured on 6.18).
    """
    if event.error is None or event.kind != "x86-segfault":
        return fault_codes.words(event)
    if event.error & KEY:
        return "a memory protection key forbids it"
    if event.error & SHADOW:
        return "the shadow stack was violated"
    address = event.number("address") or 0
    if address >= _KERNEL_HALF and not event.jumped:
        left = (1 << 64) - address
        small = f": NULL minus {left}, or the error code -{left} taken for a pointer"
        return "no address of a program's" + (small if left <= 4096 else "")
    if not event.error & PRESENT:
        return "no page is present there"
    if event.error & FETCH:
        return "the page holds data, which must not be executed"
    return "the page is read-only" if event.error & WRITE else "the page must not be read"


def thread(event: CrashEvent) -> str | None:
    """Tell from sp which thread faulted: ``main`` or ``other``; None where it cannot be told.

    Only x86-64 can be told: there the main stack and the mappings lie apart. 32-bit programs, other
    architectures and hardened layouts give None.
    """
    sp = event.number("sp")
    if sp is None or not event.kind.startswith(("x86", "truncated")) or sp >= _USER_END:
        return None
    if _LEGACY[0] <= sp < _LEGACY[1]:
        return "other"
    mapped = [event.number("ip"), event.number("map_base")]
    unrandomised = any(at is not None and _STACKS <= at < _NO_RANDOM for at in mapped)
    border = _NO_RANDOM if unrandomised else _STACKS
    if sp >= border:
        return "main"
    return "other" if sp >= _MAPPINGS else None


def stack_overflow(event: CrashEvent) -> bool:
    """Whether the access went past the end of the faulting thread's stack.

    Stacks grow down: an overflow touches an address just below sp, or in sp's own page. An address
    *above* sp in another page is something else: running off the top of the stack.
    """
    address, sp = event.number("address"), event.number("sp")
    if address is None or sp is None or event.jumped or event.null_offset is not None:
        return False
    if event.kind != "x86-segfault" or not event.error or event.error & PRESENT:
        return False
    return address >> 12 == sp >> 12 or sp - RED_ZONE <= address < sp


def stack_overrun(event: CrashEvent) -> bool:
    """Whether the access ran off the *top* of the stack: a buffer overrun, first byte of a page."""
    address, sp = event.number("address"), event.number("sp")
    if address is None or sp is None or event.jumped:
        return False
    return address % 4096 == 0 and 0 < address - sp <= 64 << 10 and address >> 12 != sp >> 12


def where(event: CrashEvent) -> str:
    """Name the place of the fault: ``libx.so at offset 0x1f``, or what is known instead."""
    if event.jumped and not event.inside:
        return f"a jump to {event.address and hex(int(event.address, 16))}, where no code is"
    if event.inside and event.library:
        offset = event.offset
        return f"{event.library} at offset {offset:#x}" if offset is not None else event.library
    if event.library and event.map_base is None and not event.jumped:
        return event.library
    ip = event.number("ip")
    if ip:
        return f"code at {ip:#x} that belongs to no file (made at run time, by a JIT compiler or libffi)"
    return "an unknown place"


def mapped(event: CrashEvent) -> str | None:
    """Tell what lay at the instruction pointer: executable, library, anonymous, data or nothing.

    None where the line does not tell.
    """
    if access(event) == "execute":
        told = page(event)
        if told in {"no page is present there", fault_codes.ABSENT}:
            return "nothing"
        return "data" if told else None
    if event.inside and event.library:
        return "library" if ".so" in event.library else "executable"
    if event.kind in {"x86-segfault", "x86-trap"} and event.map_base is None and event.library is None:
        return "anonymous" if event.number("ip") else None
    return None


def what(event: CrashEvent) -> str:
    """Say what happened, in a few words: ``read at NULL+0x1b8``."""
    done = access(event)
    null = event.null_offset
    if event.jumped or done == "execute":
        return "called or returned to a bad address"
    if signal(event) in {4, 5, 8} and (told := fault_codes.words(event)):
        return told
    if null is not None:
        return f"{done or 'access'} at NULL+{null:#x}"
    if event.trap:
        return {
            "trap divide error": "integer division by zero or overflow",
            "trap int3": "a breakpoint instruction (the program stopped itself)",
            "trap invalid opcode": "an instruction this processor does not know",
            "bad frame": "a damaged signal frame on the stack",
        }.get(event.trap) or (
            "an address no program can have (a wild or freed pointer)"
            if event.trap.startswith("general protection")
            else event.trap.removeprefix("trap ")
        )
    if address := event.number("address"):
        detail = page(event)
        return f"{done or 'access'} at {address:#x}" + (f" ({detail})" if detail else "")
    if told := fault_codes.words(event):
        return told
    number = signal(event)
    return NAMES.get(number, f"signal {number}") if number else "died"


def function(group: CrashGroup) -> str:
    """Name the function and the line, where the file tells: ``read_field (crash.c:16)``; else nothing."""
    place = group.code
    if place is None or not (place.symbol or place.line):
        return readable(str(group.sample.detail("function") or ""))
    line = place.line
    outer = (
        readable(place.symbol.name)
        if place.symbol
        else (*line.inlined_into, line.function)[0]
        if line
        else None
    )
    name = outer or "a function without a name"
    if line is None:
        return f"{name}+{place.within:#x}" if place.within else name
    at = f"{line.file.rpartition('/')[2]}:{line.line}"
    inner = line.function if line.function and line.inlined_into else None
    return f"{name} ({inner} inlined, {at})" if inner else f"{name} ({at})"


def place(group: CrashGroup) -> str:
    """Name the place of a group of crashes: library and offset, function and line where they are known."""
    name = function(group)
    return f"{where(group.sample)}, in {name}" if name else where(group.sample)
