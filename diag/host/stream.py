"""Searches what can be read only once: standard input, pipes, compressed files."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

from diag.host.cut import LINE_LIMIT, Found, cut, newlines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.host.cut import More
    from diag.host.finder import Finder

    Read = Callable[[int], bytes]

PIECE = 1 << 20
"""Bytes searched at a time: what a core's cache holds, with its neighbourhood."""

BLOCKS_AHEAD = 4

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def stream(read: Read, finder: Finder, more: More) -> Iterator[Found]:
    """Search what cannot be read twice: standard input, a pipe, a compressed file.

    One thread unpacks the next blocks while others search the last ones. A block is searched when the
    one after it is there: needles and lines reach across their border.
    """
    _keep_memory()
    cores = len(os.sched_getaffinity(0))
    waiting: deque[Future[Found]] = deque()
    before, position = b"", 0
    blocks = _Ahead(read)
    with ThreadPoolExecutor(cores) as pool, closing(blocks):
        block = blocks.next()
        while block:
            after = blocks.next()
            around = _Around(before, after[:LINE_LIMIT], position)
            waiting.append(pool.submit(_within, block, around, finder, more))
            position += len(block)
            before = (before + block if len(block) < LINE_LIMIT else block)[-LINE_LIMIT:]
            while waiting and (not after or len(waiting) > 2 * cores):
                yield waiting.popleft().result()
            block = after
    if blocks.broken:
        raise blocks.broken


def in_turn(read: Read, finder: Finder, more: More) -> Iterator[Found]:
    """Do the same in this thread alone: while each core has a file of its own, that costs least."""
    _keep_memory()
    before, position = b"", 0
    broken: OSError | None = None
    block = _block(read)
    while block:
        try:
            after = _block(read)
        except OSError as error:
            after, broken = b"", error
        yield _within(block, _Around(before, after[:LINE_LIMIT], position), finder, more)
        position += len(block)
        before = (before + block if len(block) < LINE_LIMIT else block)[-LINE_LIMIT:]
        block = after
    if broken:
        raise broken


class _Ahead:
    """Reads blocks in a thread of its own, a few ahead of who searches them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._ready: queue.Queue[bytes] = queue.Queue(BLOCKS_AHEAD)
        self._closed = False
        self.broken: OSError | None = None
        """Why there is no more: an archive was cut short; what it gave is to be searched all the same."""
        # A daemon: whoever is asked to stop while it waits for a pipe's writer need not wait, too.
        threading.Thread(target=self._run, daemon=True).start()

    def next(self) -> bytes:
        """Return the next block; empty at the end."""
        return self._ready.get()

    def close(self) -> None:
        """Want no more."""
        self._closed = True
        with suppress(queue.Empty):
            self._ready.get_nowait()  # it may wait for a place

    def _run(self) -> None:
        block = b"more"
        while block and not self._closed:
            try:
                block = _block(self._read)
            except OSError as error:
                block, self.broken = b"", error
            self._ready.put(block)


class _Around(NamedTuple):
    """What stands around a block."""

    before: bytes
    after: bytes
    position: int  # of the block, in the stream


def _keep_memory() -> None:
    """Let malloc(3) keep what it has: to get each block anew from the system costs as much as its search."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 64 << 20)
        mallopt(M_TRIM_THRESHOLD, 256 << 20)


def _block(read: Read) -> bytes:
    """Read until there is a block that is worth a search of its own: less only at the end."""
    pieces: list[bytes] = []
    have, least = 0, min(PIECE, LINE_LIMIT * 4)
    while have < least and (piece := read(PIECE)):
        pieces.append(piece)
        have += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _within(block: bytes, around: _Around, finder: Finder, more: More) -> Found:
    """Search a block that is in memory, with what stands around it."""
    before, after, position = around
    begins = finder.begins(block)
    edge = max(0, len(block) - finder.reach)
    border = block[edge:] + after[: finder.reach]
    begins += [edge + begin for begin in finder.begins(border) if edge + begin < len(block)]
    if not begins:
        return Found(position, position + len(block), newlines(block), [])
    text = b"".join((before, block, after))
    return cut(text, position, len(before), sorted(set(begins)), len(block), more)
