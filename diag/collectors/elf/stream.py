"""Bounded reading of a file whose bytes nobody vouches for.

Whoever made an ELF file chose every length and offset in it. All reading goes through a ``Window``,
which ends where its file or section ends and charges a ``Budget``: a parser that is led in circles
runs out of it. The limits count reads and bytes, not time, so that a replay meets them at the same place.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from diag.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

BLOCK = 1 << 16  # bytes fetched at once
KEPT = 256  # blocks kept in memory
READS = 400_000  # reads one question may cost: below a second of pyelftools' time
BYTES = 256 << 20  # bytes one question may cost


class Bytes(Protocol):
    """Something that gives bytes at an offset."""

    size: int

    def at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer at the end."""


class Memory:
    """Bytes that are in memory already: an unpacked section."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer at the end."""
        return self._data[offset : offset + size]


class FileBytes:
    """A file behind the host, fetched in blocks."""

    def __init__(self, host: Host, path: str, size: int) -> None:
        self._host = host
        self._path = path
        self.size = size
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def at(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer at the end. Raises ``OSError``."""
        end = min(offset + size, self.size)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // BLOCK, (end - 1) // BLOCK
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[offset - first * BLOCK : end - first * BLOCK]

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            block = self._host.read_at(self._path, number * BLOCK, BLOCK)
            self._blocks[number] = block
            if len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        return block


class Budget:
    """What one question may cost."""

    def __init__(self, reads: int = READS, size: int = BYTES) -> None:
        self._reads = reads
        self._bytes = size

    def charge(self, size: int) -> None:
        """Pay for one read. Raises ``MalformedError`` when nothing is left."""
        self._reads -= 1
        self._bytes -= size
        if self._reads < 0 or self._bytes < 0:
            raise MalformedError("the ELF file leads its reader in circles, or is too large to be read")


class Window(io.RawIOBase):
    """A part of a file, as a stream that pyelftools can read."""

    def __init__(self, source: Bytes, start: int, size: int, budget: Budget) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._size = max(0, min(size, source.size - start))
        self._budget = budget
        self._place = 0
        # The latest piece: most reads are of a byte or two, in order.
        self._piece = b""
        self._piece_at = 0

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes, fewer at the end."""
        left = self._size - self._place
        size = left if size < 0 else min(size, left)
        if size <= 0:
            self._budget.charge(0)
            return b""
        self._budget.charge(size)
        start = self._place - self._piece_at
        if not (start >= 0 and start + size <= len(self._piece)):
            ahead = min(max(size, 4096), left)
            self._piece, self._piece_at, start = (
                self._source.at(self._start + self._place, ahead),
                self._place,
                0,
            )
        data = self._piece[start : start + size]
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; beyond the end is allowed, and reads nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise MalformedError("an offset before the beginning of the file")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """Return the place of the next read."""
        return self._place

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def seekable(self) -> bool:
        """Whether one may move in it: one may."""
        return True


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever a parser raises on damaged bytes into ``MalformedError``.

    pyelftools checks little: damaged files raise KeyError, AssertionError, UnicodeDecodeError and others
    (seen by fuzzing). ``OSError`` is about the file, not its contents, and passes.
    """
    try:
        yield
    except (OSError, MalformedError):
        raise
    except Exception as error:
        raise MalformedError(f"{what}: {type(error).__name__}: {str(error)[:100]}") from error
