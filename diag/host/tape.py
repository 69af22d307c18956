"""Recording and replaying hosts: every answer of a run is kept in order, and given again."""

from __future__ import annotations

import errno
import os
import zlib
from collections import defaultdict, deque
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from diag.errors import DiagError, NotRecordedError
from diag.host import redact
from diag.host.base import READ_LIMIT, CoreView, Machine
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
    inside_info,
)
from diag.model.core import CoreImage
from diag.model.io import SysvSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

MAGIC = b"diag-recording/1\n"
UNPACKED_LIMIT = 4 << 30
"""Bytes a recording may unpack to: a hostile one must not exhaust memory."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one call returned: a value, or the errno and text of the OSError it raised."""

    value: Any = None
    errno: int = 0
    text: str = ""


class Tape(msgspec.Struct, frozen=True):
    """All calls of one run. Calls with equal arguments keep their order."""

    command: list[str]
    info: HostInfo
    calls: list[tuple[str, list[Any], Answer]]


class TapedHost:
    """Turns each method of ``Host`` into one call of ``_do``, where the two hosts below differ."""

    def _do(self, kind: type[T], method: str, *arguments: Any, **options: Any) -> T:
        raise NotImplementedError

    def clock(self) -> Clock:
        """Read the clocks."""
        return self._do(Clock, "clock")

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Read a whole file, at most ``limit`` bytes."""
        return self._do(bytes, "read", path, limit)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at ``offset``; may return fewer."""
        return self._do(bytes, "read_at", path, offset, size)

    def find_words(self, pid: int, words: Sequence[int]) -> FoundWords:
        """Search a process's writable memory for words."""
        return self._do(FoundWords, "find_words", pid, list(words))

    def code_words(self, pid: int, address: int, size: int) -> tuple[int, ...]:
        """The words of a piece of memory that point into code."""
        return self._do(tuple[int, ...], "code_words", pid, address, size)

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory, sorted."""
        return self._do(tuple[str, ...], "names", path)

    def link(self, path: str) -> str:
        """Read a symbolic link."""
        return self._do(str, "link", path)

    def status(self, path: str, *, follow: bool = True) -> FileStatus:
        """stat(2) or lstat(2)."""
        return self._do(FileStatus, "status", path, follow=follow)

    def pids(self) -> tuple[int, ...]:
        """Every process that can be seen, in order."""
        return self._do(tuple[int, ...], "pids")

    def fds(self, pid: int) -> tuple[FdLink, ...]:
        """Every open descriptor of a process, in order of number."""
        return self._do(tuple[FdLink, ...], "fds", pid)

    def identity(self, path: str) -> FileId:
        """Name a file as stat(2) and as the lock tables do."""
        return self._do(FileId, "identity", path)

    def openers(self, files: Sequence[tuple[int, int]]) -> Openers:
        """Every descriptor on the host that is open on one of ``files`` (st_dev, st_ino)."""
        return self._do(Openers, "openers", [list(file) for file in files])

    def mapped(self, names: Sequence[str]) -> tuple[MappedFile, ...]:
        """Executable mappings of files with these base names, in every process that may be read."""
        return self._do(tuple[MappedFile, ...], "mapped", list(names))

    def files_below(self, directories: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """Files with these base names below ``directories``, as far as a bounded search comes."""
        return self._do(tuple[str, ...], "files_below", list(directories), list(names))

    def mentions(self, words: Sequence[str]) -> tuple[int, ...]:
        """Processes that may run with one of ``words``."""
        return self._do(tuple[int, ...], "mentions", list(words))

    def unix_peer(self, pid: int, inode: int) -> int:
        """Inode of the other end of a UNIX socket; 0 when it has none."""
        return self._do(int, "unix_peer", pid, inode)

    def sysv_semaphores(self, pid: int, semid: int, numbers: Sequence[int]) -> SysvSet:
        """Some semaphores of a SysV set in the ipc namespace of ``pid``."""
        return self._do(SysvSet, "sysv_semaphores", pid, semid, list(numbers))

    def same_description(self, pid: int, fd: int, other_pid: int, other_fd: int) -> bool:
        """Whether two descriptors share one open file description."""
        return self._do(bool, "same_description", pid, fd, other_pid, other_fd)

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", redact: bool = False
    ) -> Outcome:
        """Run a program to its end or its time limit (seconds)."""
        return self._do(Outcome, "run", list(argv), timeout=timeout, stdin=stdin, redact=redact)

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Every line of a file that holds one of ``needles``; the last batch is empty."""
        raise NotImplementedError

    def search_soon(self, paths: Sequence[str], needles: Sequence[str], more: Callable[[bytes], int]) -> None:
        """Tell which files will be searched next: no answer, so nothing is kept."""

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """The same for what a program prints."""
        raise NotImplementedError

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """The servers that the user named. Not ``logins``: they hold passwords, and a replay needs none."""
        raise NotImplementedError

    def query(self, dsn: str, statements: Sequence[str], *, literals: bool = False) -> Answers:
        """Ask a database server."""
        return self._do(Answers, "query", dsn, list(statements), literals=literals)

    def kernel_log(self) -> bytes:
        """Read the kernel ring buffer."""
        return self._do(bytes, "kernel_log")

    def image(self) -> CoreImage:
        """What the core's headers and notes say; only inside of one."""
        return self._do(CoreImage, "image")

    def pointers(self, places: Sequence[tuple[int, int]], targets: Sequence[tuple[int, int]]) -> FoundWords:
        """Search memory for words that point into ``targets``; only inside of a core."""
        return self._do(FoundWords, "pointers", list(places), list(targets))

    def free_blocks(self) -> FreeBlocks:
        """Follow the free blocks of CPython's allocator; only inside of a core."""
        return self._do(FreeBlocks, "free_blocks")

    def unwound(self) -> tuple[Unwound, ...]:
        """The stack of every thread; only inside of a core."""
        return self._do(tuple[Unwound, ...], "unwound")

    def unread(self) -> tuple[str, ...]:
        """Mapped files that were wanted and are not there; only inside of a core."""
        return self._do(tuple[str, ...], "unread")


class RecordingHost(TapedHost):
    """Passes every call on to ``host`` and keeps what it answered."""

    def __init__(self, host: Machine, command: Sequence[str]) -> None:
        self._host = host
        self._command = list(command)
        self._calls: list[tuple[str, list[Any], Answer]] = []
        self._within = ""  # before the names of calls inside of a core

    @property
    def info(self) -> HostInfo:
        """Facts that do not change during a run."""
        return self._host.info

    def sleep(self, seconds: float) -> None:
        """Let time pass between two samples."""
        self._host.sleep(seconds)

    def inside(self, core: CoreSource, say: Callable[[float], object] = lambda _: None) -> CoreView:
        """Record what is read inside of a core on the same tape."""
        below = RecordingHost(cast("Machine", self._host.inside(core, say)), self._command)
        below._calls, below._within = self._calls, f"{self._within}{_core_name(core)}"
        return below

    def dump(self) -> bytes:
        """Return the recording, ready to be written to a file."""
        # A DSN among the arguments may hold a password.
        command = redact.arguments("\0".join(self._command).encode()).decode().split("\0")
        tape = Tape(command, self.info, self._calls)
        return MAGIC + zlib.compress(msgspec.msgpack.encode(tape), level=6)

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """Keep the names of the servers, which hold no secrets."""
        found = self._host.databases(logins)
        self._calls.append((f"{self._within}databases", [], Answer(value=found)))
        return found

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Keep each batch as an answer of its own: no more than a batch is ever held twice."""
        # Not the needles: a newer diag may look for more in an old recording.
        return self._batches("search", [path], self._host.search(path, needles, more))

    def search_soon(self, paths: Sequence[str], needles: Sequence[str], more: Callable[[bytes], int]) -> None:
        """Pass it on."""
        self._host.search_soon(paths, needles, more)

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """Keep each batch as an answer of its own."""
        found = self._host.search_output(argv, needles, more, timeout=timeout, most=most)
        return self._batches("search_output", list(argv), found)

    def _batches(
        self, method: str, key: list[Any], batches: Iterator[tuple[Hit, ...]]
    ) -> Iterator[tuple[Hit, ...]]:
        name = f"{self._within}{method}"
        try:
            for batch in batches:
                self._calls.append((name, key, Answer(value=batch)))
                yield batch
        except OSError as error:
            answer = Answer(errno=error.errno or errno.EIO, text=str(error.strerror or error))
            self._calls.append((name, key, answer))
            raise
        self._calls.append((name, key, Answer(value=())))

    def _do(self, kind: type[T], method: str, *arguments: Any, **options: Any) -> T:
        del kind  # only a replay needs it
        key = [*arguments, *(options[name] for name in sorted(options))]
        try:
            value = getattr(self._host, method)(*arguments, **options)
        except OSError as error:
            answer = Answer(errno=error.errno or errno.EIO, text=str(error.strerror or error))
            self._calls.append((f"{self._within}{method}", key, answer))
            raise
        self._calls.append((f"{self._within}{method}", key, Answer(value=value)))
        return value  # type: ignore[no-any-return]


class ReplayHost(TapedHost):
    """Gives the answers of a recording again, on any machine, as any user."""

    def __init__(self, tape: Tape) -> None:
        self.command = tuple(tape.command)
        self._info = tape.info
        self._within = ""
        self._answers: dict[bytes, deque[Answer]] = defaultdict(deque)
        for method, key, answer in tape.calls:
            self._answers[_key(method, key)].append(answer)

    @classmethod
    def load(cls, data: bytes) -> ReplayHost:
        """Read a recording.

        Raises ``DiagError`` when ``data`` is none, is torn, or would unpack beyond all measure.
        """
        hint = "make one with: diag record -o FILE -- COMMAND"
        if not data.startswith(MAGIC):
            raise DiagError("this file is not a diag recording", hint=hint)
        unpacker = zlib.decompressobj()
        try:
            packed = unpacker.decompress(data[len(MAGIC) :], UNPACKED_LIMIT)
            if not unpacker.eof:
                raise DiagError("the recording is cut short or too large", hint=hint)
            return cls(msgspec.msgpack.decode(packed, type=Tape))
        except (zlib.error, msgspec.DecodeError) as error:
            raise DiagError(f"the recording is damaged: {error}", hint=hint) from error

    @property
    def info(self) -> HostInfo:
        """Facts about the recorded machine."""
        return self._info

    def inside(self, core: CoreSource, say: Callable[[float], object] = lambda _: None) -> CoreView:
        """Give the recorded answers of the inside of a core again."""
        del say
        below = copy(self)  # the answers are shared: each is given once
        below._enter(core)  # noqa: SLF001 - its own class
        return below

    def _enter(self, core: CoreSource) -> None:
        self._within += _core_name(core)
        with suppress(OSError):  # it could not be opened when it was recorded: whoever asks is told again
            self._info = inside_info(self._info, self.image())

    def sleep(self, seconds: float) -> None:
        """Return at once: the recorded clock has already moved on."""

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """The servers of the recorded run; none in a recording made before there were any."""
        del logins
        try:
            return self._do(tuple[str, ...], "databases")
        except NotRecordedError:
            return ()

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Give the recorded batches again."""
        del needles, more
        while batch := self._do(tuple[Hit, ...], "search", path):
            yield batch

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """Give the recorded batches again."""
        del needles, more, timeout, most
        while batch := self._do(tuple[Hit, ...], "search_output", *argv):
            yield batch

    def _do(self, kind: type[T], method: str, *arguments: Any, **options: Any) -> T:
        key = [*arguments, *(options[name] for name in sorted(options))]
        answers = self._answers.get(_key(f"{self._within}{method}", key))
        if not answers:
            raise NotRecordedError(errno.ENODATA, "not in the recording", str(key[:1]))
        # The last answer stays: who looks once more than the recorded command sees no change.
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if answer.errno:
            raise OSError(answer.errno, answer.text or os.strerror(answer.errno), str(key[0]))
        return msgspec.convert(answer.value, kind)


def _core_name(core: CoreSource) -> str:
    return f"{msgspec.json.encode(core).decode()} "


def _key(method: str, arguments: Sequence[Any]) -> bytes:
    return msgspec.msgpack.encode((method, arguments))
