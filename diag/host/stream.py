"""Searches what can be read only once: standard input, pipes, compressed files."""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from diag.host.cut import LINE_LIMIT, Found, cut, newlines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.host.cut import More
    from diag.host.finder import Finder

    Read = Callable[[memoryview], int]

PIECE = 1 << 20
"""Bytes searched at a time: what a core's cache holds, with its neighbourhood."""

WINDOWS_AHEAD = 4

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def stream(read: Read, finder: Finder, more: More) -> Iterator[Found]:
    """Search what cannot be read twice: standard input, a pipe, a compressed file.

    One thread unpacks the next windows while others search the last ones.
    """
    _keep_memory()
    cores = len(os.sched_getaffinity(0))
    waiting: deque[tuple[_Window, Future[Found]]] = deque()
    windows = _Ahead(read, WINDOWS_AHEAD + 2 * cores)
    with ThreadPoolExecutor(cores) as pool, closing(windows):
        window: _Window | None = windows.next()
        while window or waiting:
            if window:
                waiting.append((window, pool.submit(window.search, finder, more)))
                window = None if window.last else windows.next()
            if not window or len(waiting) > 2 * cores:
                searched, found = waiting.popleft()
                yield found.result()
                windows.free(searched)
    if windows.broken:
        raise windows.broken


def pipe(handle: int) -> Read:
    """Return a function that reads what comes through a pipe."""
    return lambda buffer: os.readv(handle, [buffer])


def in_turn(read: Read, finder: Finder, more: More) -> Iterator[Found]:
    """Do the same in this thread alone: while each core has a file of its own, that costs least."""
    _keep_memory()
    window = _Window()
    while not window.last:
        window.fill(read, window)
        yield window.search(finder, more)
    if window.broken:
        raise window.broken


class _Window:
    """A stretch of a stream, with as much before and after it as is kept of a line.

    It is searched where it lies: what is around a needle is there, and no memory is asked for.
    """

    def __init__(self) -> None:
        self._data = bytearray(PIECE + 2 * LINE_LIMIT)
        self._position = self._size = 0  # in the stream, of the first byte; bytes that are there
        self._begin = self._end = 0  # what is to be searched
        self.last = False
        self.broken: OSError | None = None
        """Why there is no more: an archive was cut short; what it gave is to be searched all the same."""

    def fill(self, read: Read, before: _Window) -> None:
        """Take the end of the window before, which was not searched yet, and read on until it is full."""
        kept = min(before._size, 2 * LINE_LIMIT)
        start = before._size - kept
        self._data[:kept] = before._data[start : before._size]
        self._begin, self._position = before._end - start, before._position + start
        self._size = kept
        view = memoryview(self._data)
        try:
            while self._size < len(view) and (got := read(view[self._size :])):
                self._size += got
        except OSError as error:
            self.broken = error
        except MemoryError:
            self.broken = OSError(errno.ENOMEM, "there is not enough memory to read it")
        self.last = self._size < len(self._data)
        self._end = self._size - (0 if self.last else LINE_LIMIT)

    def search(self, finder: Finder, more: More) -> Found:
        """Find what begins in it."""
        begin, end = self._begin, self._end
        begins = finder.begins(memoryview(self._data)[begin : min(end + finder.reach, self._size)])
        inside = [one for one in begins if one < end - begin]
        start = self._position + begin
        if not inside:
            return Found(start, start + end - begin, newlines(self._data[begin:end]), [])
        return cut(bytes(self._data[: self._size]), start, begin, inside, end - begin, more)


class _Ahead:
    """Fills windows in a thread of its own, a few ahead of who searches them."""

    def __init__(self, read: Read, count: int) -> None:
        self._read = read
        self._ready: queue.SimpleQueue[_Window] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[_Window | None] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(_Window())
        self.broken: OSError | None = None
        # A daemon: whoever is asked to stop while it waits for a pipe's writer need not wait, too.
        threading.Thread(target=self._run, daemon=True).start()

    def next(self) -> _Window:
        """Return the next window."""
        window = self._ready.get()
        self.broken = window.broken
        return window

    def free(self, window: _Window) -> None:
        """Give back a window that was searched."""
        self._free.put(window)

    def close(self) -> None:
        """Want no more."""
        self._free.put(None)

    def _run(self) -> None:
        before = _Window()
        while not before.last and (window := self._free.get()) is not None:
            window.fill(self._read, before)
            self._ready.put(window)
            before = window


def _keep_memory() -> None:
    """Let malloc(3) keep what it has: to get each block anew from the system costs as much as its search."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 64 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)
