"""What every host can do. Collectors see this protocol and nothing else of the system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.host.records import (
        Answers,
        Clock,
        CoreSource,
        FdLink,
        FileId,
        FileStatus,
        FoundWords,
        FreeBlocks,
        Hit,
        HostInfo,
        Logins,
        MappedFile,
        Openers,
        Outcome,
        Unwound,
    )
    from diag.model.core import CoreImage
    from diag.model.io import SysvSet

READ_LIMIT = 64 << 20
"""Bytes one read may return: more than any /proc file, less than would hurt."""


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
