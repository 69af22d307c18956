"""Decodes one machine instruction, with capstone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diag.model.instruction import Instruction, Operand

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 16
"""Bytes of the longest instruction: 15 on x86."""

_READ, _WRITE = 1, 2  # CS_AC_READ, CS_AC_WRITE


def load() -> None:
    """Load what ``decode`` needs, which takes 60 ms: while somebody is waited for."""
    import capstone  # noqa: F401, PLC0415


def decode(code: bytes, machine: str, source: str) -> Instruction | None:
    """Decode the first instruction of ``code``.

    ``machine`` is "x64", "x86" or "AArch64", as ``Image.machine``; None comes back for others, and for
    bytes that are no instruction. ``source`` says where the bytes were read.
    """
    engine = _engine(machine)
    if engine is None:
        return None
    for found in engine.disasm(code[:LONGEST], 0, 1):
        return Instruction(
            text=f"{found.mnemonic} {found.op_str}".strip(),
            mnemonic=found.mnemonic,
            size=found.size,
            source=source,
            operands=tuple(_operands(found)),
        )
    return None


def loads(code: bytes, register: str) -> Operand | None:
    """The place in memory that a register was loaded from last in ``code`` (x86-64).

    None where it got its value otherwise. A call counts for no change: it is not known what it keeps.
    """
    engine, found = _engine("x64"), None
    for one in engine.disasm(code, 0):
        written = {one.reg_name(number) for number in one.regs_access()[1]}
        if register not in written and not written & _PARTS.get(register, frozenset()):
            continue
        operands = tuple(_operands(one))
        found = operands[0] if one.mnemonic == "mov" and len(operands) == 1 else None
    return found


_PARTS = {
    **{f"r{x}x": frozenset({f"e{x}x", f"{x}x", f"{x}l", f"{x}h"}) for x in "abcd"},
    **{f"r{x}": frozenset({f"e{x}", x, f"{x}l"}) for x in ("si", "di", "bp")},
    **{f"r{n}": frozenset({f"r{n}d", f"r{n}w", f"r{n}b"}) for n in range(8, 16)},
}
"""The smaller registers that are parts of one."""


def _engine(machine: str) -> Any:
    import capstone  # noqa: PLC0415 - 60 ms; loads only when used

    modes = {
        "x64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        "x86": (capstone.CS_ARCH_X86, capstone.CS_MODE_32),
        "AArch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
    }
    if machine not in modes:
        return None
    engine = capstone.Cs(*modes[machine])
    engine.detail = True
    return engine


def _operands(found: Any) -> Iterator[Operand]:
    import capstone  # noqa: PLC0415

    if found.mnemonic in {"nop", "lea"}:  # they compute an address and touch nothing there
        return
    for operand in found.operands:
        if operand.type != capstone.CS_OP_MEM:
            continue
        place = operand.mem
        segment = getattr(place, "segment", 0)
        loads = found.mnemonic.startswith(("ld", "prf"))  # arm64: capstone gives no size, and access seldom
        stores = found.mnemonic.startswith("st") and not hasattr(place, "segment")
        yield Operand(
            base=found.reg_name(place.base) if place.base else None,
            index=found.reg_name(place.index) if place.index else None,
            scale=getattr(place, "scale", 1),
            displacement=place.disp,
            segment=found.reg_name(segment) if segment else None,
            size=getattr(operand, "size", 0),
            reads=bool(operand.access & _READ) or (loads and not hasattr(place, "segment")),
            writes=bool(operand.access & _WRITE) or stores,
        )
