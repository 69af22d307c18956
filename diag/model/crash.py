"""Crashes, as logs tell them.

Numbers that a log prints in hexadecimal are kept as printed; properties decode them. Times are
seconds since the epoch.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from diag.model.code import CodePlace
from diag.model.facts import Fact, Frame

Value: TypeAlias = str | int | bool

LOW = 4096
"""Addresses below one page are NULL plus the offset of a field."""

UNMAPPED = 65536
"""Nothing is mapped below it (vm.mmap_min_addr of distributions): a large offset, or an index into NULL."""


class Role(str, Enum):
    """What a line is to a crash."""

    CRASH = "crash"  # the kernel's own word that a thread faulted or was killed
    REPORT = "report"  # somebody tells that a process died: its parent, systemd, audit, itself
    CONTEXT = "context"  # belongs to a crash, is none by itself: code bytes, a torn rest


class LogLine(Fact, frozen=True, kw_only=True):
    """Where a line stands: ``file`` is a path, "-", "journal" or "kernel ring buffer"."""

    file: str
    line: int

    def __str__(self) -> str:
        """Format as ``file:line``, as editors and grep do."""
        return f"{self.file}:{self.line}"


class DumpedThread(Fact, frozen=True, kw_only=True):
    """One thread, as the dying interpreter itself wrote it into the log."""

    ident: str  # hexadecimal: the thread's pthread number
    name: str | None
    current: bool  # it was running Python code when the process died
    frames: tuple[Frame, ...]  # innermost first


class CrashEvent(Fact, frozen=True, kw_only=True):
    """One recognised line, before any grouping."""

    at: LogLine
    kind: str  # family of the format: x86-segfault, x86-trap, arm64, ppc, oom, app ...
    form: str  # the format within its family: segfault, billiard-exit, uwsgi-segv ...
    role: Role
    text: str  # the raw line
    program: str | None = None  # the thread's name (comm), at most 15 bytes
    pid: int | None = None  # kernel lines: of the thread, in the first pid namespace
    signal: int | None = None
    time: float | None = None
    log_time: str | None = None  # the time stamp as printed
    uptime: str | None = None  # seconds since boot, as printed
    tag: str | None = None  # who wrote the line, by its syslog tag: "kernel", "uwsgi"
    address: str | None = None  # hexadecimal: the address that could not be accessed
    ip: str | None = None  # hexadecimal: instruction pointer
    sp: str | None = None  # hexadecimal: stack pointer
    error: int | None = None  # x86 page-fault error code
    error_raw: str | None = None  # hexadecimal, as printed
    trap: str | None = None  # x86: "general protection fault", "trap divide error"
    library: str | None = None  # the file mapped at ip, or the next one above: see ``inside``
    map_base: str | None = None  # hexadecimal
    map_size: str | None = None  # hexadecimal
    map_offset: str | None = None  # hexadecimal: place in the file; kernels since 6.0 print it
    details: tuple[tuple[str, Value], ...] = ()  # what only this format tells
    threads: tuple[DumpedThread, ...] = ()  # Python's traceback, where it could write one
    also: tuple[LogLine, ...] = ()  # other logs that hold the same event

    def number(self, field: str) -> int | None:
        """Decode one of the hexadecimal fields."""
        printed = getattr(self, field)
        return None if printed is None else int(printed, 16)

    def detail(self, name: str) -> Value | None:
        """Look up what only this format tells."""
        return next((value for key, value in self.details if key == name), None)

    @property
    def inside(self) -> bool | None:
        """Whether ip lies within the named mapping; only then is ``library`` what was executed.

        After a jump to a bad address the kernel may print the next mapping above it.
        """
        ip, base, size = self.number("ip"), self.number("map_base"), self.number("map_size")
        if base is None or size is None or (ip is None and self.map_offset is None):
            return None
        return ip is None or base <= ip < base + size

    @property
    def offset(self) -> int | None:
        """Where in the library: its place in the file, or ip - base where no more is printed."""
        if not self.inside:
            return None
        if self.map_offset is not None:
            return self.number("map_offset")
        ip, base = self.number("ip"), self.number("map_base")
        return None if ip is None or base is None else ip - base

    @property
    def jumped(self) -> bool:
        """Whether the instruction pointer itself was bad: the fault was fetching code."""
        ip = self.number("ip")
        if self.error is not None and self.kind == "x86-segfault" and self.error & 0x2:
            return False  # a write to the code itself
        # Of an illegal or dividing instruction, some kernels print its own address.
        of_access = self.kind != "x86-trap" and self.signal in {None, 7, 11}
        if ip is not None and of_access and ip == self.number("address"):
            return True
        return bool(self.error is not None and self.kind == "x86-segfault" and self.error & 0x10)

    @property
    def null_offset(self) -> int | None:
        """The offset into a structure that was accessed through a NULL pointer."""
        address = self.number("address")
        if address is None or address >= UNMAPPED or self.jumped or self.signal not in {None, 11}:
            return None
        return address


class Change(Fact, frozen=True, kw_only=True):
    """Something of the host that was changed: a package, the running kernel."""

    time: float  # seconds since the epoch
    what: str  # "libxml2 was upgraded (2.9.13 to 2.9.14)"
    name: str  # of the package
    at: LogLine
    text: str  # the raw line


class CrashGroup(Fact, frozen=True, kw_only=True):
    """The same crash, however often it came."""

    program: str | None
    kind: str
    library: str | None  # only where ip lies within it
    offset: int | None
    symbol: str | None = None
    count: int
    first: float | None  # None: no time stamp could be read
    last: float | None
    period: str | None = None  # in words: "hourly at minute 0"; None: irregular, or too few
    events: tuple[CrashEvent, ...]  # kernel lines (or reports, where there are none), in order
    reports: tuple[CrashEvent, ...] = ()  # what services said of the same deaths
    began: Change | None = None  # what was changed shortly before the first one; None: unknown, or nothing
    limits: tuple[CrashEvent, ...] = ()  # what supervisors said when they killed it themselves
    left_out: int = 0  # events that were counted but not kept
    code: CodePlace | None = None  # None: the file was not looked for

    @property
    def sample(self) -> CrashEvent:
        """One event that stands for all."""
        return self.events[0]
