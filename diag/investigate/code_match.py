"""Whether a file is the one that a crash was in: by the bytes the kernel printed, its age, and its code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.crashes import opcodes, operands

if TYPE_CHECKING:
    from diag.collectors.elf import Image
    from diag.collectors.elf.fitting import Mapped
    from diag.investigate.code_files import Candidate
    from diag.model.crash import CrashGroup
    from diag.model.instruction import Instruction

SLACK = 2.0
"""Seconds that the clocks of a log and of a file system may differ."""


class Seen(NamedTuple):
    """One group, and what the kernel said of the place."""

    group: CrashGroup
    mapping: Mapped
    opcodes: opcodes.Opcodes | None


def same(seen: Seen, candidate: Candidate, image: Image, address: int) -> tuple[bool, str]:
    """Tell whether a file that fits is proved to be the one, and what speaks against it, if anything."""
    start = image.offset(address)
    if seen.opcodes and start is not None:
        printed = seen.opcodes
        there = image.source.at(start - printed.at, len(printed.data))
        proven = len(there) == len(printed.data) and all(map(_alike, there, printed.data))
        return proven, "" if proven else "its code differs from the bytes that the kernel printed"
    if late := newer(candidate, seen.group.last):
        return False, late
    if image.machine in {"x64", "x86"}:
        return False, operands.contradiction(from_file(image, address), seen.group.sample) or ""
    return False, ""


def _alike(on_disk: int, in_memory: int) -> bool:
    """Whether a byte is the same; a debugger or a uprobe puts a breakpoint in its place in memory."""
    return in_memory in (on_disk, 0xCC)


def from_file(image: Image, address: int) -> Instruction | None:
    """Decode the instruction at an address of a file."""
    from diag.collectors import disassembly  # noqa: PLC0415 - loads only when used

    start = image.offset(address)
    if start is None:
        return None
    return disassembly.decode(image.source.at(start, disassembly.LONGEST), image.machine, image.path)


_MACHINES = {"x86": ("x64", "x86"), "arm64": ("AArch64",), "ppc": ("64-bit PowerPC", "PowerPC")}


def of_machine(image: Image, kind: str) -> bool:
    """Whether a file is made for the processor whose kernel writes lines of this kind."""
    machines = _MACHINES.get(kind.partition("-")[0])
    return machines is None or image.machine in machines


def newer(candidate: Candidate, last: float | None) -> str | None:
    """Say so where a file was put there after the last crash."""
    if last is None:
        return None
    if candidate.modified > last + SLACK:
        return "it was written after the crash"
    # Renamed into place, as package managers do it: its own time is then that of its build. Of a copy,
    # which the user names with --root, it says nothing.
    if candidate.changed > last + SLACK and not candidate.vouched:
        return "it was put there, or changed, after the crash"
    return None


def replaced(candidate: Candidate, last: float | None) -> bool:
    """Whether a file that is not the one that crashed must have taken its place.

    Another program of the same name may have a file of the same name elsewhere: a path proves something
    only where the dead process used it, or where the file there is younger than the crash.
    """
    return candidate.exact or (candidate.known and newer(candidate, last) is not None)
