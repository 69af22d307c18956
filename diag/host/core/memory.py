"""The memory of a process: from its core, and what that leaves out from the files that were mapped."""

from __future__ import annotations

import errno
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diag.host.core.elf import Segment
    from diag.host.core.notes import Mapped

    Read = Callable[[int, int], bytes]
    ReadFile = Callable[[str, int, int], bytes]  # path, offset, size


class Piece(NamedTuple):
    """One stretch of addresses, and where its bytes are."""

    start: int
    end: int
    offset: int  # in the core, or in the file
    path: str  # "": the core itself


class CoreMemory:
    """Reads by address. Nothing is kept in memory."""

    def __init__(self, read: Read, segments: Sequence[Segment], size: int) -> None:
        """``size``: bytes of the core file; segments beyond it are not there."""
        self._read = read
        self._read_file: ReadFile | None = None
        held = sorted(_held(segments, size))
        self._pieces = _without_overlap(held)
        self._starts = [piece.start for piece in self._pieces]
        self.wanted: dict[str, None] = {}
        """Files that would have had what was asked for, and could not be read or are other files now."""

    def add_files(self, files: Iterable[Mapped], usable: Callable[[str], bool], read: ReadFile) -> None:
        """Take from files what the core leaves out; ``usable`` tells whether a file is still the same."""
        self._read_file = read
        gaps = [piece for item in files for piece in self._unheld(item)]
        self._pieces = _without_overlap(sorted([*self._pieces, *gaps]))
        self._starts = [piece.start for piece in self._pieces]
        self._usable = usable

    def read(self, address: int, size: int) -> bytes:
        """Read at most ``size`` bytes; fewer where the memory ends; ``OSError`` when there are none."""
        piece = self._at(address)
        if (
            piece is not None and not piece.path and address + size <= piece.end
        ):  # most reads: nothing to join
            data = self._read(piece.offset + address - piece.start, size)
            if data:
                return data
        out = []
        while size > 0:
            piece = self._at(address)
            if piece is None:
                break
            wanted = min(size, piece.end - address)
            data = self._from(piece, address, wanted)
            out.append(data)
            if len(data) < wanted:
                break
            address += wanted
            size -= wanted
        found = b"".join(out)
        if not found:
            raise OSError(errno.EIO, "not in the core")
        return found

    def held(self, address: int, size: int) -> bytes:
        """Read only what the core itself holds; b"" where it holds nothing."""
        piece = self._at(address)
        if piece is None or piece.path:
            return b""
        return self._read(piece.offset + address - piece.start, min(size, piece.end - address))

    def before(self, address: int, size: int) -> bytes:
        """Read at most ``size`` bytes that end at ``address``, of what the core itself holds there."""
        piece = self._at(address - 1)
        if piece is None or piece.path:
            return b""
        start = max(address - size, piece.start)
        return self._read(piece.offset + start - piece.start, address - start)

    def _at(self, address: int) -> Piece | None:
        number = bisect_right(self._starts, address) - 1
        if number < 0 or address >= self._pieces[number].end:
            return None
        return self._pieces[number]

    def _from(self, piece: Piece, address: int, size: int) -> bytes:
        offset = piece.offset + address - piece.start
        if not piece.path:
            return self._read(offset, size)
        if self._read_file is None or not self._usable(piece.path):
            self.wanted[piece.path] = None
            return b""
        try:
            return self._read_file(piece.path, offset, size)
        except OSError:
            self.wanted[piece.path] = None
            return b""

    def _unheld(self, item: Mapped) -> Iterator[Piece]:
        """Yield the parts of a mapping that the core does not hold."""
        at = item.start
        number = max(bisect_right(self._starts, at) - 1, 0)
        while at < item.end and number < len(self._pieces):
            piece = self._pieces[number]
            number += 1
            if piece.end <= at:
                continue
            if piece.start >= item.end:
                break
            if piece.start > at:
                yield Piece(at, piece.start, item.offset + at - item.start, item.path)
            at = max(at, piece.end)
        if at < item.end:
            yield Piece(at, item.end, item.offset + at - item.start, item.path)


def _held(segments: Iterable[Segment], size: int) -> Iterator[Piece]:
    for segment in segments:
        if segment.kind != 1 or segment.offset >= size:
            continue
        length = min(segment.in_file, segment.in_memory, size - segment.offset)
        if length > 0 and segment.address + length < 1 << 64:
            yield Piece(segment.address, segment.address + length, segment.offset, "")


def _without_overlap(pieces: Iterable[Piece]) -> list[Piece]:
    """Cut each piece where the one before it ends: a forged core may claim the same addresses twice."""
    found: list[Piece] = []
    for piece in pieces:
        end = found[-1].end if found else 0
        if piece.end <= end:
            continue
        if piece.start < end:
            piece = piece._replace(start=end, offset=piece.offset + end - piece.start)  # noqa: PLW2901
        found.append(piece)
    return found
