"""Signals and their codes in words (signal(7), sigaction(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.model.core import CoreSignal

NAMES = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS",
    8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM",
    15: "SIGTERM", 19: "SIGSTOP", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
}  # fmt: skip
"""Numbers of x86 and ARM."""

UNKNOWN = -1
"""Stands for the signal of a core that does not tell it."""

SI_USER, SI_KERNEL, SI_QUEUE, SI_TKILL = 0, 128, -1, -6
_CODES = {
    (4, 1): ("ILL_ILLOPC", "an instruction this processor does not know"),
    (4, 2): ("ILL_ILLOPN", "an operand the instruction cannot have"),
    (7, 1): ("BUS_ADRALN", "an address that is not aligned"),
    (7, 2): ("BUS_ADRERR", "a mapped file that is shorter than its mapping, or memory that failed"),
    (8, 1): ("FPE_INTDIV", "integer division by zero"),
    (8, 2): ("FPE_INTOVF", "integer overflow"),
    (11, 1): ("SEGV_MAPERR", "nothing is mapped at the address"),
    (11, 2): ("SEGV_ACCERR", "the access is not allowed at the address"),
    (11, 3): ("SEGV_BNDERR", "bounds were violated"),
    (11, 4): ("SEGV_PKUERR", "a protection key forbids the access"),
}
_SENT = {SI_USER: "SI_USER", SI_QUEUE: "SI_QUEUE", SI_TKILL: "SI_TKILL"}


def name(number: int) -> str:
    """Name a signal: ``SIGSEGV``."""
    return "unknown" if number == UNKNOWN else NAMES.get(number, f"signal {number}")


def code_name(signal: CoreSignal) -> str:
    """Name its si_code; the number where it has no name."""
    if (signal.number, signal.code) in _CODES:
        return _CODES[signal.number, signal.code][0]
    if signal.code == SI_KERNEL:
        return "SI_KERNEL"
    return _SENT.get(signal.code, str(signal.code))


def is_snapshot(signal: CoreSignal) -> bool:
    """Whether the core was taken of a process that lived on: gcore stops it (SIGSTOP or SIGTRAP), no more."""
    return signal.number in (0, 5, 19) and signal.code in (0, SI_KERNEL)


def cause(signal: CoreSignal, pid: int) -> str:
    """Say in words why the core was written."""
    if is_snapshot(signal):
        return "taken of the living process (gcore)"
    if signal.number == UNKNOWN:
        return "why it was written, the core does not tell"
    if (signal.number, signal.code) in _CODES:
        what = _CODES[signal.number, signal.code][1]
    elif signal.code == SI_KERNEL and signal.number == 11:
        what = (
            "an address that no program can have (a wild or freed pointer), which the processor does not tell"
        )
    elif signal.sender == pid and signal.code == SI_TKILL:
        what = "sent by the process to itself: abort(), raise() or assert()"
    elif signal.sender == pid:
        what = "sent by the process to itself with kill()"
    elif signal.sender is not None and signal.code <= 0:
        what = (
            f"sent by process {signal.sender} (user {signal.sender_uid})"
            if signal.sender
            else "sent by the kernel"
        )
    else:
        return name(signal.number)
    return f"{name(signal.number)}: {what}"
