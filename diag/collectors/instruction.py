"""One machine instruction in words: what it accessed, through which register, and what that held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.disassembly import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.instruction import Operand

_MACHINES = {"x86_64": "x64", "aarch64": "AArch64"}
LOW = 4096
_NONCANONICAL = range(1 << 47, (1 << 64) - (1 << 47))


def explain(
    machine: str, code: bytes, registers: Mapping[str, int], address: int | None
) -> tuple[str, tuple[str, ...], int | None]:
    """Decode the first instruction of ``code``; ``address``: the place in memory that could not be accessed.

    Returns its text, sentences on what it did, and the register value it accessed memory through; ("", (),
    None) where it cannot be decoded.
    """
    found = decode(code, _MACHINES.get(machine, ""), "core")
    if found is None:
        return "", (), None
    words: list[str] = []
    base: int | None = None
    for operand in found.operands:
        names = {operand.base, operand.index} - {None}
        if operand.segment or not names <= registers.keys():
            continue
        base = registers.get(operand.base or "")
        index = registers.get(operand.index or "", 0) * operand.scale
        place = ((base or 0) + index + operand.displacement) & (1 << 64) - 1
        if address is not None and not place <= address < place + 64:
            continue
        words.append(f"{_does(operand)} {operand.size or 'some'} bytes at {operand} = {place:#x}")
        if operand.base and base is not None:
            words.append(f"{operand.base} = {base:#x}{_what(base)}")
    if not words and found.mnemonic in ("push", "call") and "rsp" in registers:
        words.append(f"writes to the stack at {registers['rsp']:#x}")
    return found.text, tuple(words), base


def _does(operand: Operand) -> str:
    if operand.reads and operand.writes:
        return "reads and writes"
    return "reads" if operand.reads else "writes" if operand.writes else "accesses"


def _what(value: int) -> str:
    """Say what kind of pointer a value is."""
    if value == 0:
        return ", which is NULL"
    if value < LOW:
        return ", which is no pointer: NULL plus an offset, or a small number"
    if value in _NONCANONICAL:
        text = value.to_bytes(8, "little")
        letters = text.rstrip(b"\0")
        if letters.isascii() and letters.decode("ascii").isprintable():
            return f", which is no address but text: {letters.decode('ascii')!r}"
        return ", which no program can have as an address"
    patterns = {0xDB: "PYTHONMALLOC=debug: freed", 0xDD: "PYTHONMALLOC=debug: freed", 0xCB: "not yet set"}
    if value.to_bytes(8, "little")[:6] == bytes([value & 0xFF]) * 6 and value & 0xFF in patterns:
        return f", the pattern of {patterns[value & 0xFF]} memory"
    return ""
