"""Places in native code, as ELF files tell them. Addresses are those of the file, not of a process."""

from __future__ import annotations

from diag.model.facts import Fact
from diag.model.instruction import Instruction


class Segment(Fact, frozen=True, kw_only=True):
    """One program header, elf(5)."""

    type: str  # "PT_LOAD", "PT_NOTE" ...; a number as text where it has no name
    offset: int  # bytes into the file
    address: int
    file_size: int
    memory_size: int
    executable: bool = False
    writable: bool = False


class Section(Fact, frozen=True, kw_only=True):
    """One section header, elf(5)."""

    name: str
    type: str
    offset: int  # bytes into the file
    address: int
    size: int
    link: int = 0
    compressed: bool = False


class Symbol(Fact, frozen=True, kw_only=True):
    """A function that an address belongs to, by the file's own table."""

    name: str
    address: int
    size: int  # bytes; 0: the table does not tell
    table: str  # ".symtab", ".dynsym", ".gnu_debugdata", ".debug_info"


class SourceLine(Fact, frozen=True, kw_only=True):
    """The line that an address was compiled from, by DWARF."""

    file: str
    line: int  # 0: the compiler made the code up
    function: str | None = None  # the function it stands in, also where that was inlined into another
    inlined_into: tuple[str, ...] = ()  # functions around it, innermost first


class CodePlace(Fact, frozen=True, kw_only=True):
    """What the file that was executed tells of the place of a crash."""

    path: str | None = None  # the file that was looked into; None: none was found
    build_id: str | None = None
    address: int | None = None  # of the instruction, in that file
    proven: bool = False  # its bytes are those that the kernel printed
    instruction: Instruction | None = None
    symbol: Symbol | None = None
    within: int | None = None  # bytes from the beginning of the function
    line: SourceLine | None = None
    replaced: str | None = None  # how it shows that ``path`` is not the file that crashed any more
    unlike: bool = False  # it is another file than the one that crashed
    trouble: str | None = None  # why no function can be named, where none is
    users: tuple[int, ...] = ()  # living processes of the same program that run a file since replaced


class ReplacedFile(Fact, frozen=True, kw_only=True):
    """A file of code that a living process has mapped, and that its path does not name any more."""

    pid: int
    started: int  # clock ticks since boot
    process: str  # its name
    path: str
    now: int  # inode that the path names
    changed: float  # when that was put there, seconds since the epoch
