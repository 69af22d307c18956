"""Finds the lines of a log that hold one of a few literal texts, as fast as memory allows.

A file is read with pread(2) in pieces, so it may be rotated or cut short meanwhile (a mapped file
that shrinks kills its reader with SIGBUS). Both read and search let go of the interpreter lock, so
threads search pieces of one file on all cores.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from diag.host import unpack
from diag.host.cut import LINE_LIMIT, Found, cut, newlines, nothing_more
from diag.host.finder import finder_of
from diag.host.names import to_path
from diag.host.records import Hit, Progress
from diag.host.stream import PIECE, in_turn, pipe, stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.host.cut import More
    from diag.host.finder import Finder

_OWN = threading.local()


def search(
    path: str,
    needles: Sequence[str],
    more: More = nothing_more,
    progress: Progress | None = None,
    *,
    alone: bool = True,
) -> Iterator[tuple[Hit, ...]]:
    """Yield the lines of a file that hold one of ``needles``, in order, a batch at a time.

    ``more`` tells how much of what follows a line is to be given with it. ``-`` is standard input; a
    compressed file is unpacked on the way, by this thread only where it is not ``alone``. Raises ``OSError``
    for what is no regular file (a descriptor of our own, such as /dev/fd/63, may be a pipe).
    """
    finder = finder_of(tuple(needles))
    progress = progress or Progress()
    progress.path, progress.done, progress.size = path, 0, 0
    if path == "-":
        yield from numbered(_told(stream(pipe(0), finder, more), progress))
        return
    handle = open_log(path)
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            yield from numbered(_told(stream(pipe(handle), finder, more), progress))
            return
        progress.size = about.st_size
        if kind := unpack.compression(handle):
            found = (stream if alone else in_turn)(unpack.reader(handle, kind), finder, more)
            yield from numbered(_told(found, progress, handle))
        else:
            yield from numbered(_told(_pieces(handle, finder, more), progress))
    finally:
        os.close(handle)


def _told(pieces: Iterator[Found], progress: Progress, packed: int | None = None) -> Iterator[Found]:
    """Pass pieces on and note how far they are; of a packed file its descriptor knows."""
    for piece in pieces:
        progress.done = piece.end if packed is None else os.lseek(packed, 0, os.SEEK_CUR)
        yield piece


def open_log(path: str) -> int:
    """Open a log; never wait for a FIFO's writer, never touch a device."""
    ours = path.startswith(("/dev/fd/", "/proc/self/fd/")) or path == "/dev/stdin"
    about = os.stat(to_path(path))
    mode = about.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory, not a log", path)
    if not stat.S_ISREG(mode) and not (ours and stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, f"is {_what(mode)}, not a regular file", path)
    if not ours and about.st_dev in _kernels():
        # Some are endless, and to read /proc/kmsg takes messages away from syslogd.
        raise OSError(errno.EINVAL, "is a file of the kernel's own, not a log", path)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if ours else os.O_NONBLOCK)
    return os.open(to_path(path), flags)


@cache
def _kernels() -> frozenset[int]:
    """Name the devices of proc(5) and sysfs(5)."""
    found = set()
    for place in ("/proc", "/sys"):
        with suppress(OSError):
            found.add(os.stat(place).st_dev)
    return frozenset(found)


def _what(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _pieces(handle: int, finder: Finder, more: More) -> Iterator[Found]:
    """Search a regular file piece by piece on all cores; yield the results in order."""
    size = os.fstat(handle).st_size
    starts = range(0, size, PIECE)
    workers = min(len(os.sched_getaffinity(0)), len(starts))
    if workers < 2:
        yield from (_piece(handle, start, finder, more) for start in starts)
        return
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for start in starts:
            waiting.append(pool.submit(_piece, handle, start, finder, more))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _piece(handle: int, start: int, finder: Finder, more: More) -> Found:
    """Search one piece. What stands around it is read only where a hit needs it."""
    buffer = _buffer(PIECE + finder.reach)
    got = os.preadv(handle, [buffer], start)
    block = memoryview(buffer)[:got]
    begins = finder.begins(block)
    if not begins:
        counted = newlines(buffer if got == len(buffer) else buffer[:got]) - newlines(buffer[PIECE:got])
        return Found(start, start + PIECE, counted, [])
    before = os.pread(handle, min(LINE_LIMIT, start), max(0, start - LINE_LIMIT))
    after = os.pread(handle, LINE_LIMIT, start + got)
    text = b"".join((before, block, after))
    inside = [begin for begin in begins if begin < PIECE]
    return cut(text, start, len(before), inside, PIECE, more)


def _buffer(size: int) -> bytearray:
    """Return this thread's buffer: new memory for each piece would cost as much as the search."""
    buffer: bytearray | None = getattr(_OWN, "buffer", None)
    if buffer is None or len(buffer) != size:
        buffer = _OWN.buffer = bytearray(size)
    return buffer


def numbered(pieces: Iterable[Found]) -> Iterator[tuple[Hit, ...]]:
    """Turn newlines within pieces into line numbers of the file.

    A line that reaches into the next piece is met there again: it is given once.
    """
    passed = last = 0
    for piece in pieces:
        batch = []
        for at, hit in piece.hits:
            if at < last:
                continue
            first = max(hit.offset, last)
            text = hit.text[first - hit.offset :]
            batch.append(Hit(passed + hit.number + 1, first, text, hit.after))
            last = first + len(text)
        passed += piece.newlines
        if batch:
            yield tuple(batch)
