"""The machine instruction that faulted."""

from __future__ import annotations

from diag.model.facts import Fact


class Operand(Fact, frozen=True, kw_only=True):
    """A place in memory that an instruction names: base + index * scale + displacement."""

    base: str | None = None  # a register
    index: str | None = None
    scale: int = 1
    displacement: int = 0  # signed
    segment: str | None = None  # "fs", "gs": relative to the thread's own storage
    size: int = 0  # bytes; 0: not known
    reads: bool = False
    writes: bool = False

    def __str__(self) -> str:
        """Format as ``[rdi+0x1b8]``."""
        parts = [self.base] if self.base else []
        if self.index:
            parts.append(f"{self.index}*{self.scale}" if self.scale != 1 else self.index)
        place = "+".join(parts)
        if self.displacement or not place:
            sign = "-" if self.displacement < 0 else "+" if place else ""
            place += f"{sign}{abs(self.displacement):#x}"
        return f"{self.segment}:[{place}]" if self.segment else f"[{place}]"


class Instruction(Fact, frozen=True, kw_only=True):
    """One decoded instruction."""

    text: str  # "mov eax, dword ptr [rdi + 0x1b8]"
    mnemonic: str
    size: int  # bytes
    source: str  # where its bytes were read: a log line, or a file
    operands: tuple[Operand, ...] = ()  # those in memory
    words: str | None = None  # what it did, and what that tells of its registers
    null: bool = False  # the register it went through was NULL
