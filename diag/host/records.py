"""What a host answers with. Plain records: a recording keeps them, a replay gives them again."""

from __future__ import annotations

import struct
from datetime import timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from diag.model.core import CoreImage


def fixed_zone(offset: str) -> timezone:
    """Make a zone of an offset as logs and strftime(3) print it: ``+0530``, ``-03:00``, ``Z``; else UTC."""
    digits = offset[1:].replace(":", "")
    if offset[:1] not in "+-" or not digits.isdigit():
        return timezone.utc
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0))
    return timezone(-size if offset[0] == "-" else size)


class Clock(msgspec.Struct, frozen=True):
    """One instant on four clocks, in seconds."""

    wall: float  # since the epoch
    boot: float  # since boot, suspended time included (CLOCK_BOOTTIME; /proc/PID/stat field 22)
    monotonic: float  # since boot, suspended time left out (kernel log)
    scheduler: float  # the scheduler's own clock (se.exec_start): near monotonic, but drifts from it


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the machine and about who is looking; they do not change during a run."""

    name: str
    kernel: str
    machine: str  # x86_64, aarch64 ...
    boot_id: str
    ticks: int  # clock ticks a second (sysconf SC_CLK_TCK)
    page_size: int  # bytes
    cpus: int
    uid: int  # effective user id of the reader
    pid: int  # the reader's own process, never a suspect
    capabilities: int  # effective set, as in /proc/self/status CapEff
    container: str | None  # "docker", "lxc" ... when the reader runs inside one
    cwd: str  # the reader's working directory, for relative paths
    timezone: str  # UTC offset at the start, "+0200"
    zone_rules: bytes = b""  # when clocks were changed: the host's file of tzfile(5), where it has one

    @property
    def zone(self) -> tzinfo:
        """The host's time zone: with its summer times where the rules are known, else one offset for ever."""
        from io import BytesIO  # noqa: PLC0415 - most commands need no zone
        from zoneinfo import ZoneInfo  # noqa: PLC0415

        try:
            return ZoneInfo.from_file(BytesIO(self.zone_rules))
        except (ValueError, EOFError, IndexError, struct.error):
            return fixed_zone(self.timezone)

    debug_server: bool = False  # DEBUGINFOD_URLS names servers of debugging information


def inside_info(info: HostInfo, image: CoreImage) -> HostInfo:
    """Describe a core's machine, as far as it matters: its processor; no process of it is diag."""
    return replace(info, machine=image.machine or info.machine, pid=0)


class MappedFile(msgspec.Struct, frozen=True, kw_only=True):
    """An executable mapping of a file, in one process."""

    pid: int
    process: str  # its name (comm)
    path: str  # in the process's own mount namespace, without "(deleted)"
    start: int
    end: int
    offset: int  # bytes into the file
    device: int
    inode: int
    deleted: bool  # no path names this file any more


class FileStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What stat(2) says: sizes in bytes, times in seconds since the epoch."""

    device: int
    inode: int
    mode: int
    size: int
    links: int
    uid: int
    modified: float
    changed: float = 0.0  # when the inode changed: also when it was renamed into place (ctime)


class FdLink(msgspec.Struct, frozen=True, array_like=True):
    """One entry of /proc/PID/fd: the number and what the kernel calls the file."""

    fd: int
    target: str
    device: int  # 0 when it is not a file, or could not be told without the risk of hanging
    inode: int


class OpenFd(msgspec.Struct, frozen=True, kw_only=True):
    """A descriptor that is open on a file somebody asked for."""

    pid: int
    fd: int
    target: str  # what the kernel calls the file, in the process's own mount namespace
    device: int
    inode: int


class Openers(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one pass over all descriptors of the host."""

    found: tuple[OpenFd, ...]
    denied: tuple[int, ...]  # pids whose descriptors could not be seen


class FileId(msgspec.Struct, frozen=True, kw_only=True):
    """How stat(2) names a file, and how /proc/locks names the same file.

    They differ on btrfs subvolumes and some overlays, whose st_dev is not the superblock's.
    """

    device: int
    inode: int
    lock_device: int
    lock_inode: int
    mode: int
    path: str = ""  # what the kernel calls it: absolute, without symbolic links


class Outcome(msgspec.Struct, frozen=True):
    """A program that ran to its end, or was ended at its time limit."""

    code: int  # exit status; negative: killed by that signal
    stdout: bytes
    stderr: bytes
    timed_out: bool = False


class FoundWord(msgspec.Struct, frozen=True, array_like=True):
    """One place in a process's memory that holds a word somebody asked for."""

    address: int
    word: int


class FoundWords(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one search through a process's memory."""

    found: tuple[FoundWord, ...]
    cut: bool  # not all of its memory was searched, or not all words


class Unwound(msgspec.Struct, frozen=True, array_like=True):
    """The stack of one thread of a core, innermost frame first."""

    tid: int
    frames: tuple[int, ...]  # addresses of instructions; of callers: to where the call returns
    signals: tuple[int, ...]  # which of them the kernel made, to call a handler
    whole: bool  # it ends where a thread or a program begins


class WrongLink(msgspec.Struct, frozen=True, array_like=True):
    """A free block of CPython's small-object allocator that does not lead to another one."""

    block: int  # address of what holds the link: a free block, or its pool
    link: int  # where it leads instead; of a block that comes twice, that block
    size: int  # bytes of a block there
    why: str  # twice, outside of its pool, between two blocks
    past: int = 0  # bytes between the beginning of a block and where the link leads: of "between"


class FreeBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """The lists of free blocks of CPython's small-object allocator."""

    found: tuple[WrongLink, ...]
    pools: int  # that were followed
    cut: bool  # not all were


class CoreSource(msgspec.Struct, frozen=True, kw_only=True):
    """Which core to look into, and where what it was mapped from lies on the machine that looks."""

    path: str
    exe: str | None = None  # a file that stands for the program's own path
    root: str | None = None  # a directory below which the files of the core's machine lie


class Progress:
    """How far the search through one file is: who shows it reads it from another thread."""

    def __init__(self) -> None:
        self.path = ""
        self.done = self.size = 0  # bytes of the file as it lies there; size 0: unknown


Cell: TypeAlias = int | float | str | None
"""One value of a database's answer; dates and decimals come as text."""


class Problem(msgspec.Struct, frozen=True, array_like=True):
    """Why a database server did not answer, or not a statement."""

    kind: str  # driver, refused, timeout, denied, privilege, tls, limit, missing, lost, other
    code: str  # the server's own number or SQLSTATE; "" where it gave none
    text: str  # in its own words, without any password


class Rows(msgspec.Struct, frozen=True, kw_only=True):
    """A server's answer to one statement. Columns have lower-case names."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    problem: Problem | None = None

    def dicts(self) -> list[dict[str, Cell]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=False)) for row in self.rows]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What a server said to several statements; none where it could not be asked at all."""

    results: tuple[Rows, ...] = ()
    problem: Problem | None = None


class Logins(msgspec.Struct, frozen=True, kw_only=True):
    """Where the user says that database servers are; passwords stay with the host."""

    dsns: tuple[str, ...] = ()
    dsn_file: str | None = None
    mysql_defaults_file: str | None = None


class Hit(msgspec.Struct, frozen=True, array_like=True):
    """One line of a log that holds a needle."""

    number: int  # counted from 1
    offset: int  # of the line's first byte
    text: bytes  # without the newline, cut at the line limit
    after: bytes = b""  # what follows it, where that was asked for
