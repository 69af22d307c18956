"""The machine diag runs on."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from diag.host import files, machine, memory_search, statx
from diag.host.base import READ_LIMIT, CoreView
from diag.host.bounded import bounded
from diag.host.names import to_path, to_text
from diag.host.records import (
    Answers,
    Clock,
    CoreSource,
    FdLink,
    FileId,
    FileStatus,
    FoundWords,
    Hit,
    HostInfo,
    Logins,
    MappedFile,
    Openers,
    Outcome,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.host.ahead import Ahead
    from diag.host.dsn import Dsn
    from diag.host.follow import Target
    from diag.model.io import SysvSet


SYSLOG_ACTION_READ_ALL = 3
SYSLOG_ACTION_SIZE_BUFFER = 10
KCMP_FILE = 0
SYS_KCMP = {"x86_64": 312, "aarch64": 272, "ppc64le": 354, "s390x": 343, "riscv64": 272}


class LiveHost:
    """Reads this machine. Every method is bounded in time; none changes anything."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """``meanwhile`` is work for the time that the longest look, that of ``openers``, takes."""
        self._meanwhile = meanwhile
        self.progress = Progress()
        self._ahead: Ahead | None = None
        self._logins: dict[str, Dsn] = {}  # by their DSN without secrets
        self._soon: dict[tuple[str, ...], subprocess.Popen[bytes]] = {}  # waiting for their input
        weakref.finalize(self, _end, self._soon)

    @cached_property
    def info(self) -> HostInfo:
        """Facts that do not change during a run."""
        return machine.info()

    def clock(self) -> Clock:
        """Read the clocks."""
        monotonic = time.monotonic()
        return Clock(
            wall=time.time(),
            boot=time.clock_gettime(time.CLOCK_BOOTTIME),
            monotonic=monotonic,
            scheduler=_scheduler_clock() or monotonic,
        )

    def sleep(self, seconds: float) -> None:
        """Let time pass between two samples."""
        time.sleep(seconds)

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Read a whole file, at most ``limit`` bytes."""
        data = bounded(path, lambda: files.read_all(path, limit))
        if not path.endswith(("/cmdline", ".py")):
            return data
        from diag.host import redact  # noqa: PLC0415 - its patterns are compiled only when used

        return redact.arguments(data) if path.endswith("/cmdline") else redact.source(data)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset``; may return fewer."""

        def look() -> bytes:
            handle = os.open(to_path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.pread(handle, size, offset)
            finally:
                os.close(handle)

        return bounded(path, look)

    def find_words(self, pid: int, words: Sequence[int]) -> FoundWords:
        """Search a process's writable memory for aligned 8-byte words."""
        return memory_search.find_words(pid, words)

    def code_words(self, pid: int, address: int, size: int) -> tuple[int, ...]:
        """The words of a piece of memory that point into code."""
        return bounded(f"/proc/{pid}/maps", lambda: memory_search.code_words(pid, address, size))

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted."""
        return tuple(sorted(map(to_text, bounded(path, lambda: os.listdir(to_path(path))))))

    def link(self, path: str) -> str:
        """Read a symbolic link; /proc links never touch the file they name."""
        return to_text(os.readlink(to_path(path)))

    def status(self, path: str, *, follow: bool = True) -> FileStatus:
        """stat(2) or lstat(2)."""
        found = bounded(path, lambda: statx.status(path, follow=follow))
        return FileStatus(
            device=found.st_dev,
            inode=found.st_ino,
            mode=found.st_mode,
            size=found.st_size,
            links=found.st_nlink,
            uid=found.st_uid,
            modified=found.st_mtime,
            changed=found.st_ctime,
        )

    def pids(self) -> tuple[int, ...]:
        """Every process that can be seen, in order."""
        import psutil  # noqa: PLC0415 - loads only when used

        return tuple(sorted(psutil.pids()))

    def fds(self, pid: int) -> tuple[FdLink, ...]:
        """Every open descriptor of a process, in order of number.

        Device and inode come from the descriptor itself, not from its path, so they are right for
        deleted files and other mount namespaces. They are asked for in one bounded step a process.
        """
        return bounded(f"/proc/{pid}/fd", lambda: files.descriptors(pid))

    def identity(self, path: str) -> FileId:
        """Name a file as stat(2) and as the lock tables do.

        O_PATH opens nothing: no permission on the file is needed, no FIFO blocks, no lease breaks.
        """
        return bounded(path, lambda: files.identity(path))

    def openers(self, files: Sequence[tuple[int, int]]) -> Openers:
        """Every descriptor on the host that is open on one of ``files`` (st_dev, st_ino)."""
        from diag.host.openers import openers  # noqa: PLC0415 - ctypes loads only when used

        wanted = {(device, inode) for device, inode in files}
        return openers(wanted, skip=os.getpid(), meanwhile=self._meanwhile)

    def mapped(self, names: Sequence[str]) -> tuple[MappedFile, ...]:
        """Executable mappings of files with these base names, in every process that may be read."""
        from diag.host.code_files import mapped  # noqa: PLC0415 - loads only when used

        return bounded("mappings", lambda: mapped(names))

    def files_below(self, directories: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """Files with these base names below ``directories``, as far as a bounded search comes."""
        from diag.host.code_files import below  # noqa: PLC0415 - loads only when used

        return bounded("directories", lambda: below(directories, names))

    def mentions(self, words: Sequence[str]) -> tuple[int, ...]:
        """Processes that may run with one of ``words``."""
        from diag.host.mentions import mentions  # noqa: PLC0415 - loads only when used

        return bounded("command lines", lambda: mentions(words))

    def unix_peer(self, pid: int, inode: int) -> int:
        """Inode of the other end of a UNIX socket; 0 when it has none."""
        from diag.host.sockdiag import unix_peer  # noqa: PLC0415 - loads only when used

        return unix_peer(pid, inode)

    def sysv_semaphores(self, pid: int, semid: int, numbers: Sequence[int]) -> SysvSet:
        """Some semaphores of a SysV set in the ipc namespace of ``pid``."""
        from diag.host.sysvipc import semaphores  # noqa: PLC0415 - loads only when used

        return semaphores(pid, semid, numbers)

    def same_description(self, pid: int, fd: int, other_pid: int, other_fd: int) -> bool:
        """Whether two descriptors share one open file description (kcmp(2), KCMP_FILE)."""
        number = SYS_KCMP.get(os.uname().machine)
        if number is None:
            raise OSError(errno.ENOSYS, "kcmp: no known number on this machine")
        libc = ctypes.CDLL(None, use_errno=True)
        order: int = libc.syscall(number, pid, other_pid, KCMP_FILE, fd, other_fd)
        if order < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "kcmp")
        return order == 0

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", redact: bool = False
    ) -> Outcome:
        """Run a program to its end or its time limit (seconds)."""
        child = self._soon.pop(tuple(argv), None) or _started(argv)
        with child:
            try:
                out, err = child.communicate(stdin, timeout=timeout)
            except BaseException as error:
                child.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                said = b"" if redact else error.stdout or b""  # cut short, secrets can not be told apart
                return Outcome(-9, said, error.stderr or b"", timed_out=True)
        return Outcome(
            child.returncode, _redacted(out) if redact else out, err
        )  # the caller judges the status

    def run_soon(self, argv: Sequence[str]) -> None:
        """Start a program that waits for its standard input: the next ``run`` of it has it loaded already."""
        with suppress(OSError):  # then ``run`` tells
            self._soon[tuple(argv)] = _started(argv)

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Every line of a file that holds one of ``needles``, in batches; ``-`` is stdin."""
        from diag.host.search import search  # noqa: PLC0415 - its libraries load only when used

        begun = self._ahead and self._ahead.needles == needles and self._ahead.take(path, self.progress)
        return begun or search(path, needles, more, self.progress)

    def search_soon(self, paths: Sequence[str], needles: Sequence[str], more: Callable[[bytes], int]) -> None:
        """Tell which files will be searched next, in this order: the search of several may begin at once."""
        from diag.host.ahead import Ahead  # noqa: PLC0415 - its libraries load only when used

        if self._ahead:
            self._ahead.close()
        self._ahead = Ahead(paths, needles, more)

    def inside(self, core: CoreSource, say: Callable[[float], object] = lambda _: None) -> CoreView:
        """A host whose only process is the one that a core was taken of."""
        from diag.host.core import CoreHost  # noqa: PLC0415 - loads only when used

        return CoreHost(self, core, say)

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """Every line that a program prints and that holds one of ``needles``, in batches."""
        from diag.host.output import search_output  # noqa: PLC0415 - its libraries load only when used

        return search_output([_program(argv[0]), *argv[1:]], needles, more, timeout=timeout, most=most)

    def follow(
        self,
        targets: Callable[[], Sequence[Target]],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        whole: bool,
        growing: bool,
        stop: Callable[[], bool],
        hidden: Callable[[str, OSError], None],
    ) -> Iterator[tuple[str, tuple[Hit, ...]]]:
        """Every new line of logs that holds one of ``needles``, for ever; only a live host can do that."""
        from diag.host.follow import follow  # noqa: PLC0415 - its libraries load only when used

        return follow(targets, needles, more, whole=whole, growing=growing, stop=stop, hidden=hidden)

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """The DSNs, without secrets, of all servers that the user named."""
        from diag.host import logins as sources  # noqa: PLC0415 - loads only when used

        found = sources.gather(logins.dsns, logins.dsn_file, logins.mysql_defaults_file)
        self._logins.update((dsn.public, dsn) for dsn in found)
        return tuple(dsn.public for dsn in found)

    def query(self, dsn: str, statements: Sequence[str], *, literals: bool = False) -> Answers:
        """Ask a server: own connection, read only, bounded in time, no locks."""
        from diag.host import drivers, sql_text  # noqa: PLC0415 - loads only when used
        from diag.host.dsn import parse  # noqa: PLC0415

        login = self._logins.get(dsn) or parse(dsn)
        return sql_text.answers(drivers.ask(login, statements), login.dialect, literals=literals)

    def kernel_log(self) -> bytes:
        """Read the whole kernel ring buffer; nothing is taken out of it (syslog(2))."""
        libc = ctypes.CDLL(None, use_errno=True)
        size: int = libc.klogctl(SYSLOG_ACTION_SIZE_BUFFER, None, 0)
        text = ctypes.create_string_buffer(max(size, 1))
        got: int = libc.klogctl(SYSLOG_ACTION_READ_ALL, text, size)
        if got < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "kernel ring buffer")
        return text.raw[:got]


def _redacted(dump: bytes) -> bytes:
    from diag.host import redact  # noqa: PLC0415 - its patterns are compiled only when used

    return redact.dump(dump)


def _started(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen([_program(argv[0]), *argv[1:]], stdin=pipe, stdout=pipe, stderr=pipe)


def _end(children: dict[tuple[str, ...], subprocess.Popen[bytes]]) -> None:
    """End what nobody has asked anything."""
    for child in children.values():
        with child:
            child.kill()


def _scheduler_clock() -> float | None:
    """Read the scheduler's clock: our own exec_start is now, give or take a tick. None without it."""
    try:
        with open("/proc/self/sched", encoding="ascii", errors="replace") as file:
            values = (line.partition(":")[2] for line in file if line.startswith("se.exec_start"))
            return float(next(values)) / 1000
    except (OSError, ValueError, StopIteration):
        return None


def _program(name: str) -> str:
    """Find a program beside our own interpreter first: py-spy lives in diag's virtual environment.

    Done here, not by the caller, so that a recording holds no path of the machine it was made on.
    """
    beside = os.path.join(os.path.dirname(sys.executable), name)
    return beside if os.access(beside, os.X_OK) else name
