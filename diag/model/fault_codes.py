"""What the codes mean that kernels of other processors than x86 print with a fault.

Sources: asm/esr.h of arch/arm64, asm-generic/siginfo.h, arch/s390/kernel/pgm_check.S, arch/arm/mm/fault.h.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent

ABSENT = "no page is present there"
DENIED = "a page is there, but it does not allow that"
_MISALIGNED = "the address is not aligned"

# arm64: fault status of a data or instruction abort, bits 0 to 5 without the level of the table.
_ARM64 = {0x04: ABSENT, 0x08: "the page was not accessed before", 0x0C: DENIED}
_ARM64_WHOLE = {
    0x10: "the memory did not answer (external abort)",
    0x11: "the tag of the pointer is not that of the memory: freed, or out of bounds (MTE)",
    0x21: _MISALIGNED,
}
# arm64: exception class, bits 26 to 31.
_CLASSES = {
    0x00: "an instruction this processor does not know",
    0x0D: "a jump to a place that is no target for it (BTI)",
    0x0E: "an instruction that is not allowed in this state",
    0x1C: "a return address or pointer failed its authentication: overwritten",
    0x22: "the instruction pointer is not aligned",
    0x26: "the stack pointer is not aligned",
    0x2C: "a floating point exception",
    0x3C: "a breakpoint instruction (the program stopped itself)",
}
_INSTRUCTION_ABORT, _DATA_ABORT = {0x20, 0x21}, {0x24, 0x25}

# si_code by signal (sigaction(2)), which powerpc and riscv print.
_SI_CODES = {
    (4, 1): "an instruction this processor does not know",
    (4, 2): "an operand this processor does not know",
    (4, 5): "an instruction only the kernel may use",
    (5, 1): "a breakpoint instruction (the program stopped itself)",
    (7, 1): _MISALIGNED,
    (7, 2): "no memory answers at that address",
    (7, 4): "the memory is defective (machine check)",
    (7, 5): "the memory is defective (machine check)",
    (8, 1): "an integer was divided by zero",
    (8, 2): "an integer overflow",
    (8, 3): "a floating point number was divided by zero",
    (8, 7): "an invalid floating point operation",
    (11, 1): ABSENT,
    (11, 2): DENIED,
    (11, 3): "a bound was exceeded",
    (11, 4): "a memory protection key forbids it",
}

# s390: program interruption codes -> signal and meaning.
_S390 = {
    0x01: (4, "an instruction this processor does not know"),
    0x02: (4, "an instruction only the kernel may use"),
    0x04: (11, DENIED),
    0x05: (11, "no memory answers at that address"),
    0x06: (4, "an operand that is not allowed: an odd address or register, or one not aligned"),
    0x07: (8, "a data exception: a decimal or vector operation failed"),
    0x08: (8, "an integer overflow"),
    0x09: (8, "an integer was divided by zero"),
    0x10: (11, ABSENT),
    0x11: (11, ABSENT),
    0x38: (11, "the address is beyond what the program can have"),
    0x39: (11, ABSENT),
    0x3A: (11, ABSENT),
    0x3B: (11, ABSENT),
}

# arm: fault status, bits 0 to 3 and 10.
_ARM = {
    0x1: _MISALIGNED,
    0x5: ABSENT,
    0x7: ABSENT,
    0x8: "the memory did not answer (external abort)",
    0x9: DENIED,
    0xB: DENIED,
    0xD: DENIED,
    0xF: DENIED,
}


def words(event: CrashEvent) -> str | None:
    """Tell in words what was wrong; None for x86, and where the code is not known."""
    if (syndrome := _number(event, "esr")) is not None:
        return _arm64(syndrome)
    if event.kind == "s390":
        return _S390.get(_number(event, "interruption_code") or 0, (0, None))[1]
    code = _number(event, "code")
    if code is None:
        return None
    if event.form.startswith("arm32"):
        return _ARM.get(code & 0xF)
    if event.kind in {"ppc", "riscv"} and event.signal:
        return _SI_CODES.get((event.signal, code & 0xFFFF))
    return None


def access(event: CrashEvent) -> str | None:
    """Tell what was tried: ``read``, ``write`` or ``execute``; None where the code does not tell."""
    if (syndrome := _number(event, "esr")) is not None:
        kind = syndrome >> 26 & 0x3F
        if kind in _INSTRUCTION_ABORT:
            return "execute"
        # WnR. It is also set for cache maintenance, which reads.
        return (
            ("write" if syndrome & 0x40 and not syndrome & 0x100 else "read") if kind in _DATA_ABORT else None
        )
    if event.form.startswith("arm32-page") and (code := _number(event, "code")) is not None:
        return "execute" if code & 0x80000000 else "write" if code & 0x800 else "read"
    return None


def signal(event: CrashEvent) -> int | None:
    """Return the signal that a code stands for, where the line itself names none."""
    if event.kind == "s390":
        return _S390.get(_number(event, "interruption_code") or 0, (None, ""))[0]
    if (syndrome := _number(event, "esr")) is not None:
        kind = syndrome >> 26 & 0x3F
        if kind in _INSTRUCTION_ABORT | _DATA_ABORT:
            return 7 if syndrome & 0x3F in {0x10, 0x21} else 11
        return {0x00: 4, 0x0D: 4, 0x0E: 4, 0x1C: 4, 0x22: 7, 0x26: 7, 0x2C: 8, 0x3C: 5}.get(kind)
    return None


def _arm64(syndrome: int) -> str | None:
    kind = syndrome >> 26 & 0x3F
    if kind in _INSTRUCTION_ABORT | _DATA_ABORT:
        status = syndrome & 0x3F
        return _ARM64_WHOLE.get(status) or (_ARM64.get(status & 0x3C) if status < 0x10 else None)
    return _CLASSES.get(kind)


def _number(event: CrashEvent, name: str) -> int | None:
    told = event.detail(name)
    # "code" is also what lines with bytes of code call those.
    return int(told, 16) if isinstance(told, str) and re.fullmatch(r"[0-9a-f]{1,16}", told) else None
