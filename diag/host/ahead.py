"""Searches several compressed files at once: each can only be unpacked by one core, so others take others.

Each in a process of its own: threads would wait for each other's hold on the interpreter for a sixth of
their time (measured). Plain files are not begun before their turn: the search through one of them uses all
cores already.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import signal
import struct
from typing import TYPE_CHECKING, NoReturn

import msgspec

from diag.host import unpack
from diag.host.finder import finder_of
from diag.host.records import Hit, Progress
from diag.host.search import open_log, search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host.cut import More

    Batch = tuple[Hit, ...]

_TICK = 0.2  # seconds between two looks at how far they are
_SIZE = struct.Struct("<I")
_NUMBERS = struct.Struct("<qq")


class _Message(msgspec.Struct, array_like=True):
    """What a child tells: hits, or that it is at the end, and why."""

    batch: tuple[Hit, ...] = ()
    errno: int | None = None
    trouble: str = ""


_DECODER = msgspec.msgpack.Decoder(_Message)


class Ahead:
    """Compressed files in the order in which they will be asked for, as many begun as there are cores."""

    def __init__(self, paths: Sequence[str], needles: Sequence[str], more: More) -> None:
        files = [path for path in dict.fromkeys(paths) if _packed(path)]
        self.needles, self._more = needles, more
        self._later = files if len(files) > 1 else []
        self._begun: dict[str, _Search] = {}
        self._cores = len(os.sched_getaffinity(0))
        self._begin()

    def take(self, path: str, progress: Progress) -> Iterator[Batch] | None:
        """Give what the search of a file finds; None: nobody began one."""
        self._begin()
        if found := self._begun.get(path):
            return self._read(path, found, progress)
        if path in self._later:
            self._later.remove(path)  # asked for out of its turn
        return None

    def close(self) -> None:
        """Want no more of any file."""
        self._later.clear()
        for one in self._begun.values():
            one.stop()
        self._begun.clear()

    def _begin(self) -> None:
        while self._later and sum(one.runs() for one in self._begun.values()) < self._cores:
            path = self._later.pop(0)
            try:
                self._begun[path] = _Search(path, self.needles, self._more)
            except OSError:  # no more processes, or descriptors: each in its turn then
                self._later.clear()

    def _read(self, path: str, found: _Search, progress: Progress) -> Iterator[Batch]:
        progress.path, progress.size = path, 0
        try:
            while True:
                while not found.ready():
                    progress.done, progress.size = found.progress()
                    self._begin()
                message = found.next()
                if message.batch:
                    yield message.batch
                elif message.errno is None:
                    return
                else:
                    raise OSError(message.errno, message.trouble)
        finally:
            found.stop()
            self._begun.pop(path, None)
            self._begin()


class _Search:
    """A search that runs in a process of its own."""

    def __init__(self, path: str, needles: Sequence[str], more: More) -> None:
        finder_of(tuple(needles))  # for all of them at once
        self._numbers = mmap.mmap(-1, _NUMBERS.size)
        reader, writer = os.pipe()
        try:
            self._pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
        if not self._pid:
            _run(path, needles, more, writer, self._numbers)
        os.close(writer)
        self._pipe = os.fdopen(reader, "rb")
        self._runs = True

    def ready(self) -> bool:
        """Whether something can be read, after a moment."""
        return bool(select.select([self._pipe], [], [], _TICK)[0])

    def next(self) -> _Message:
        """Return what it tells next."""
        head = self._pipe.read(_SIZE.size)
        size = _SIZE.unpack(head)[0] if len(head) == _SIZE.size else 0
        data = self._pipe.read(size)
        if not size or len(data) < size:
            return _Message(errno=errno.EIO, trouble="the search of it ended before its end: was it killed?")
        return _DECODER.decode(data)

    def progress(self) -> tuple[int, int]:
        """Tell how many bytes of the file are done, and how many it has."""
        done, size = _NUMBERS.unpack_from(self._numbers)
        return done, size

    def runs(self) -> bool:
        """Whether it still needs a core."""
        if self._runs and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._runs = False
        return self._runs

    def stop(self) -> None:
        """Want no more."""
        self._pipe.close()
        self._numbers.close()
        if self._runs:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._runs = False


class _Shared(Progress):
    """How far a child is, where its parent can see it; without a parent it ends."""

    def __init__(self, numbers: mmap.mmap) -> None:
        self._numbers, self._parent = numbers, os.getppid()
        super().__init__()

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "done":
            _NUMBERS.pack_into(self._numbers, 0, self.done, getattr(self, "size", 0))
            if os.getppid() != self._parent:
                os._exit(1)


def _run(path: str, needles: Sequence[str], more: More, writer: int, numbers: mmap.mmap) -> NoReturn:
    """Search in a child: nothing of the parent's may run at its end, or be kept open by it."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, writer)
        os.closerange(writer + 1, 1 << 16)
        with os.fdopen(writer, "wb") as pipe:
            for message in _messages(path, needles, more, _Shared(numbers)):
                data = msgspec.msgpack.encode(message)
                pipe.write(_SIZE.pack(len(data)) + data)
                pipe.flush()
    finally:
        os._exit(0)


def _messages(path: str, needles: Sequence[str], more: More, progress: Progress) -> Iterator[_Message]:
    try:
        for batch in search(path, needles, more, progress, alone=False):
            yield _Message(batch)
        yield _Message()
    except OSError as error:
        yield _Message(errno=error.errno or errno.EIO, trouble=error.strerror or str(error))
    except MemoryError:
        yield _Message(errno=errno.ENOMEM, trouble="there is not enough memory to read it")


def _packed(path: str) -> bool:
    """Whether a file is compressed; False where it cannot be told: who searches it will say why."""
    if path == "-":
        return False
    try:
        handle = open_log(path)
    except OSError:
        return False
    try:
        return unpack.compression(handle) is not None
    except OSError:
        return False  # a pipe
    finally:
        os.close(handle)
