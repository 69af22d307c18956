"""What every host can do. Collectors see this protocol and nothing else of the system."""

from __future__ import annotations

import struct
from datetime import timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.model.core import CoreImage
    from diag.model.io import SysvSet

READ_LIMIT = 64 << 20
"""Bytes one read may return: more than any /proc file, less than would hurt."""


_ESCAPED = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
_RESTORED = {there: here for here, there in _ESCAPED.items()}


def to_text(name: str) -> str:
    """Make a file name from the system printable and storable.

    Linux names are bytes; Python marks those that are no UTF-8 with lone surrogates, which neither
    JSON nor MessagePack can hold. They are moved, one to one, into a private plane; ``to_path``
    moves them back.
    """
    return name if name.isascii() else name.translate(_ESCAPED)


def to_path(text: str) -> str:
    """Undo ``to_text``, for use in a system call."""
    return text if text.isascii() else text.translate(_RESTORED)


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


class Host(Protocol):
    """A machine that can be looked at.

    Every method may raise ``OSError``: ``FileNotFoundError``/``ProcessLookupError`` for what is
    gone, ``PermissionError`` for what is denied, ``TimeoutError`` for what did not answer in time,
    ``NotRecordedError`` in a replay. Nothing is ever written and no target is ever signalled.
    """

    @property
    def info(self) -> HostInfo:
        """Facts that do not change during a run."""

    def clock(self) -> Clock:
        """Read the clocks."""

    def sleep(self, seconds: float) -> None:
        """Let time pass between two samples (a replay returns at once)."""

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Read a whole file, at most ``limit`` bytes."""

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset`` (ELF files, /proc/PID/mem); may return fewer."""

    def find_words(self, pid: int, words: Sequence[int]) -> FoundWords:
        """Search a process's writable memory for aligned 8-byte words (pointers), within bounds."""

    def code_words(self, pid: int, address: int, size: int) -> tuple[int, ...]:
        """The aligned 8-byte words of a piece of memory that point into code, in order; no others."""

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted."""

    def link(self, path: str) -> str:
        """Read a symbolic link."""

    def status(self, path: str, *, follow: bool = True) -> FileStatus:
        """stat(2) or lstat(2)."""

    def pids(self) -> tuple[int, ...]:
        """Every process that can be seen, in order."""

    def fds(self, pid: int) -> tuple[FdLink, ...]:
        """Every open descriptor of a process, in order of number."""

    def identity(self, path: str) -> FileId:
        """Name a file as stat(2) and as the lock tables do, without opening it for reading."""

    def openers(self, files: Sequence[tuple[int, int]]) -> Openers:
        """Every descriptor on the host that is open on one of ``files`` (st_dev, st_ino)."""

    def mapped(self, names: Sequence[str]) -> tuple[MappedFile, ...]:
        """Executable mappings of files with these base names, in every process that may be read."""

    def files_below(self, directories: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """Files with these base names below ``directories``, as far as a bounded search comes."""

    def mentions(self, words: Sequence[str]) -> tuple[int, ...]:
        """Processes that may run with one of ``words``: it is on their command line, or they pause."""

    def unix_peer(self, pid: int, inode: int) -> int:
        """Inode of the other end of a UNIX socket in the network namespace of ``pid``; 0: it has none."""

    def sysv_semaphores(self, pid: int, semid: int, numbers: Sequence[int]) -> SysvSet:
        """Some semaphores of a SysV set in the ipc namespace of ``pid``."""

    def same_description(self, pid: int, fd: int, other_pid: int, other_fd: int) -> bool:
        """Whether two descriptors share one open file description (kcmp(2), KCMP_FILE)."""

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", redact: bool = False
    ) -> Outcome:
        """Run a program to its end or its time limit (seconds).

        ``redact``: its output is py-spy's JSON, whose variables are masked before anybody sees them.
        """

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Every line of a file that holds one of ``needles``, in batches; ``-`` is stdin.

        ``more`` tells how many bytes of what follows a line are wanted with it.
        """

    def search_soon(self, paths: Sequence[str], needles: Sequence[str], more: Callable[[bytes], int]) -> None:
        """Tell which files will be searched next, in this order: the search of several may begin at once.

        It changes nothing in what ``search`` gives. What an earlier call named is forgotten.
        """

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """The same for what a program prints; it is ended after ``timeout`` seconds (``TimeoutError``).

        ``PermissionError`` where journalctl says that it shows only a part, EFBIG where it printed ``most``
        lines: as many as its command line lets it.
        """

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """The DSNs, without secrets, of all servers that the user named; a replay gives the recorded ones.

        Options, the environment and a private file may name them. Raises ``DiagError`` for a bad one.
        """

    def query(self, dsn: str, statements: Sequence[str], *, literals: bool = False) -> Answers:
        """Ask a server named by ``databases``: own connection, read only, bounded in time, no locks.

        Columns called ``statement`` or ``lock_data`` are masked as SQL text unless ``literals``.
        """

    def kernel_log(self) -> bytes:
        """The kernel ring buffer, as syslog(2) gives it: ``<6>[ 1.234567] text``."""


class Machine(Host, Protocol):
    """A host on which core files can be opened."""

    def inside(self, core: CoreSource, say: Callable[[float], object] = ...) -> CoreView:
        """A host whose only process is the one that a core was taken of.

        ``say`` is told how much of a compressed core is unpacked (0 to 1).
        """


class CoreView(Host, Protocol):
    """The inside of a core: a host with one process, in which nothing moves any more."""

    def image(self) -> CoreImage:
        """What the core's headers and notes say; raises ``OSError`` (ENOEXEC: it is no core)."""

    def pointers(self, places: Sequence[tuple[int, int]], targets: Sequence[tuple[int, int]]) -> FoundWords:
        """Search memory (start, end) for aligned 8-byte words that point into ``targets`` (start, end)."""

    def free_blocks(self) -> FreeBlocks:
        """Follow the free blocks of CPython's small-object allocator; what is wrong with them."""

    def unwound(self) -> tuple[Unwound, ...]:
        """The stack of every thread, as far as it can be told without another program; () where it cannot."""

    def unread(self) -> tuple[str, ...]:
        """Mapped files whose memory was wanted so far, and that are gone or other ones now."""
