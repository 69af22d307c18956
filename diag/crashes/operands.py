"""What the faulting instruction tells: which register was bad, and whether it can have faulted at all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.crash import LOW, UNMAPPED

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent
    from diag.model.instruction import Instruction, Operand

_WRAP = 1 << 64
_DIVIDES = re.compile(r"i?div|aam")
_STACK = re.compile(r"push|call|enter|pop|ret|leave|iret")
_PROTECTED = re.compile(r"hlt|cli|sti|in[bwl]?$|out[bwl]?$|int|i?ret|jmp|rdmsr|wrmsr|xsetbv|inv|sys")
"""Instructions that a program may not execute, or that load what they must not: they fault by themselves."""
_ALIGNED = re.compile(
    r"v?(?:movap[sd]|movdqa|movntdqa?|movntp[sd]|movaps)|(?:add|sub|mul|xor|and|or|cmp)p[sd]"
)
_STOPS = {
    "ud2": "a place the compiler took for unreachable, or a deliberate stop (__builtin_trap, an assertion)",
    "hlt": "an instruction only the kernel may use: abort() of the C library ends with it",
    "int3": "a deliberate breakpoint",
}


def words(instruction: Instruction, event: CrashEvent) -> str | None:
    """Say what the instruction did and what its registers held; None where nothing is sure.

    The value of a register follows from the address of the fault where one register alone makes it.
    """
    if why := _STOPS.get(instruction.mnemonic):
        return why
    if _DIVIDES.search(instruction.mnemonic) and event.trap == "trap divide error":
        return "the divisor was 0, or the result did not fit"
    operand = faulting(instruction, event)
    if operand is None:
        return None
    done = _done(instruction, operand, event)
    if event.trap == "trap alignment check":
        return f"{done}: the address was not aligned"
    held = _held(operand, event.number("address")) if event.trap is None else _wild(instruction, operand)
    return f"{done}: {held}" if held else done


def through_null(instruction: Instruction, event: CrashEvent) -> bool:
    """Whether the one register that made the address was NULL, whatever the offset."""
    operand = faulting(instruction, event)
    return operand is not None and event.trap is None and _base(operand, event.number("address")) == 0


def contradiction(instruction: Instruction | None, event: CrashEvent) -> str | None:
    """Say why this instruction can not have caused this fault: then it is of another file."""
    if instruction is None:
        return None if event.trap == "trap invalid opcode" else "the bytes there are no instruction"
    name = instruction.mnemonic
    if event.trap == "trap divide error":
        return None if _DIVIDES.search(name) else f"the instruction there, {name}, divides nothing"
    general = (event.trap or "").startswith("general protection")
    if not general and (event.kind != "x86-segfault" or event.trap is not None or event.jumped):
        return None
    if not (instruction.operands or _STACK.search(name) or (general and _PROTECTED.match(name))):
        return f"the instruction there, {instruction.text}, touches no memory"
    if general:
        return None
    if faulting(instruction, event) is None and not _STACK.search(name):
        return f"the instruction there, {instruction.text}, does not {fault.access(event)} memory"
    return None


def faulting(instruction: Instruction, event: CrashEvent) -> Operand | None:
    """Return the operand that faulted: the one that is accessed in the way the kernel tells."""
    told = fault.access(event) if event.trap is None else None
    able = [
        operand
        for operand in instruction.operands
        if told is None
        or (operand.writes if told == "write" else operand.reads)
        # What is read and then written faults with the write's code, if it is a locked instruction.
        or (operand.reads and operand.writes)
    ]
    fitting = [operand for operand in able if _fits(operand, event)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(operand: Operand, event: CrashEvent) -> bool:
    """Whether the address can be the operand's, as far as the line tells: its registers are not printed."""
    address = event.number("address")
    if event.trap is not None or address is None:
        return True
    if operand.base == "rip":
        ip = event.number("ip")
        return ip is not None and abs((ip + operand.displacement - address) % _WRAP) <= 4096
    if operand.base in {"rsp", "esp", "sp"} and not operand.index:
        sp = event.number("sp")
        return sp is not None and abs(sp + operand.displacement - address) <= max(operand.size, 64)
    return True


def _done(instruction: Instruction, operand: Operand, event: CrashEvent) -> str:
    size = f"{operand.size} bytes" if operand.size > 1 else "a byte" if operand.size else "memory"
    if instruction.mnemonic in {"call", "jmp"}:
        return (
            f"fetches the address to {'call' if instruction.mnemonic == 'call' else 'jump to'} from {operand}"
        )
    if instruction.mnemonic.startswith("rep"):
        size = "a block"
    told = fault.access(event) if event.trap is None else None
    verb = told or ("writes" if operand.writes and not operand.reads else "reads")
    verb = {"read": "reads", "write": "writes"}.get(verb, verb)
    return f"{verb} {size} at {operand}"


def _base(operand: Operand, address: int | None) -> int | None:
    """Work out what the one register that makes the address held."""
    if (
        address is None
        or operand.index
        or operand.segment
        or operand.base in {None, "rip", "rsp", "esp", "sp"}
    ):
        return None
    value = (address - operand.displacement) % _WRAP
    # An access across the end of a page faults at the page, not at its own address.
    return None if value and address % LOW == 0 and operand.size > 1 and address else value


def _held(operand: Operand, address: int | None) -> str | None:
    value = _base(operand, address)
    if value is None:
        return None
    if value == 0:
        return f"{operand.base} was NULL"
    if value < UNMAPPED:
        return f"{operand.base} was {value:#x}, a small number and no pointer"
    if value > _WRAP - LOW:
        return f"{operand.base} was {value - _WRAP}, an error code or an index"
    return f"{operand.base} was {value:#x}"


def _wild(instruction: Instruction, operand: Operand) -> str | None:
    """Say what a fault without an address, a general protection fault, tells of the operand."""
    if _ALIGNED.fullmatch(instruction.mnemonic) and operand.size >= 16:
        return f"the address must be a multiple of {operand.size}, and was not, or {_none(operand)}"
    if operand.index or operand.segment or operand.base in {None, "rip", "rsp"}:
        return None
    return _none(operand)


def _none(operand: Operand) -> str:
    return f"{operand.base or 'it'} held no address that a program can have: freed or overwritten memory"
