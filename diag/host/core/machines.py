"""Registers of the processors whose cores are understood, as in NT_PRSTATUS (sys/procfs.h, sys/user.h)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from diag.model.core import CoreThread

_COMMON = 112  # bytes of struct elf_prstatus before pr_reg, on 64-bit Linux
_INTERRUPTED = frozenset({-4, -38, -512, -513, -514, -516})
"""What a system call that a signal interrupted has in its result: EINTR, ENOSYS (has only just begun), and
ERESTARTSYS to ERESTART_RESTARTBLOCK, which never reach a program (include/linux/errno.h)."""


class Machine(NamedTuple):
    """One processor."""

    names: tuple[str, ...]  # of the words of pr_reg
    pc: str
    sp: str
    tls: str  # "": it comes in a note of its own
    number: str  # of the system call
    result: str
    arguments: tuple[str, ...]


MACHINES = {
    "x86_64": Machine(
        names=(
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi"),
            *("rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs"),
            "gs",
        ),
        pc="rip",
        sp="rsp",
        tls="fs_base",
        number="orig_rax",
        result="rax",
        arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
    ),
    "aarch64": Machine(
        names=(*(f"x{n}" for n in range(31)), "sp", "pc", "pstate"),
        pc="pc",
        sp="sp",
        tls="",
        number="x8",
        result="x0",
        arguments=("x0", "x1", "x2", "x3", "x4", "x5"),
    ),
}


def thread(machine: str, status: bytes) -> CoreThread | None:
    """Read one NT_PRSTATUS; None when it is not one of this machine."""
    known = MACHINES.get(machine)
    if len(status) < _COMMON:
        return None
    signal, tid = struct.unpack_from("<h", status, 12)[0], struct.unpack_from("<i", status, 32)[0]
    if known is None or len(status) < _COMMON + 8 * len(known.names):
        return CoreThread(tid=tid, signal=signal) if tid > 0 else None
    if tid <= 0:
        return None
    words = dict(zip(known.names, struct.unpack_from(f"<{len(known.names)}Q", status, _COMMON), strict=True))
    return CoreThread(
        tid=tid,
        signal=signal,
        registers=tuple(words.items()),
        pc=words[known.pc],
        sp=words[known.sp],
        tls=words.get(known.tls, 0),
        syscall=_syscall(machine, known, words),
    )


def _syscall(machine: str, known: Machine, words: dict[str, int]) -> tuple[int, ...]:
    """Tell whether a thread was in a system call: the kernel was entered by one, and it was not done.

    On x86-64 orig_rax is -1 after any other way in. aarch64 does not tell: there it counts only when the
    result says that it was interrupted, and the first argument is lost.
    """
    number, result = _signed(words[known.number]), _signed(words[known.result])
    if machine == "aarch64" or not 0 <= number < 1 << 16 or result not in _INTERRUPTED:
        return ()
    return (number, *(words[name] for name in known.arguments))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
