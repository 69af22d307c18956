"""Finds words in another process's memory: only where they lie leaves the host, never what is around them."""

from __future__ import annotations

import os
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick, MatchKind

from diag.host.records import FoundWord, FoundWords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PIECE = 4 << 20
MOST_BYTES = 2 << 30
PATIENCE = 3.0
"""Seconds one search may take; measured: 1 GiB a second with up to 16 words."""
MOST_WORDS = 64
MOST_HITS = 100_000

_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMPARED = 6  # the low bytes of a pointer; the high two are zero and would stop the search everywhere


def find_words(pid: int, words: Sequence[int]) -> FoundWords:
    """Search the writable private memory of a process for aligned 8-byte words.

    Raises ``OSError`` when its memory may not be read at all.
    """
    with _opened(f"/proc/{pid}/mem") as memory, _opened(f"/proc/{pid}/pagemap") as pages:

        def read(start: int, size: int) -> bytes:
            try:
                return os.pread(memory, size, start)
            except OSError:  # unmapped meanwhile
                return b""

        return find_in(_resident(pages, pid), read, words)


def find_in(
    ranges: Iterable[tuple[int, int]], read: Callable[[int, int], bytes], words: Sequence[int]
) -> FoundWords:
    """Search ``ranges`` of addresses, whose bytes ``read(address, size)`` gives, for aligned 8-byte words."""
    wanted = {word for word in words if 1 << 16 <= word < 1 << 48}
    patterns = [word.to_bytes(8, "little")[:_COMPARED] for word in sorted(wanted)][:MOST_WORDS]
    if not patterns:
        return FoundWords(found=(), cut=False)
    finder = BytesAhoCorasick(patterns, matchkind=MatchKind.LeftmostFirst)
    found: list[FoundWord] = []
    deadline = time.monotonic() + PATIENCE
    left = MOST_BYTES
    for first, last in ranges:
        for start in range(first, last, PIECE):
            size = min(PIECE, last - start)
            left -= size
            if left < 0 or time.monotonic() > deadline or len(found) >= MOST_HITS:
                return FoundWords(found=tuple(found[:MOST_HITS]), cut=True)
            found.extend(_hits(finder, read(start, size), start))
    return FoundWords(found=tuple(found), cut=len(wanted) > MOST_WORDS)


def code_words(pid: int, address: int, size: int) -> tuple[int, ...]:
    """Return the aligned 8-byte words of a piece of memory that point into executable mappings of files."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        lines = [line.split(None, 5) for line in file]
    code = [
        tuple(int(end, 16) for end in words[0].split("-"))
        for words in lines
        if len(words) > 5 and "x" in words[1] and words[5].startswith("/")
    ]
    with _opened(f"/proc/{pid}/mem") as memory:
        data = os.pread(memory, size, address & ~7)
    found = (word for (word,) in struct.iter_unpack("=Q", data[: len(data) & ~7]))
    return tuple(word for word in found if any(start <= word < end for start, end in code))


@contextmanager
def _opened(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _resident(pages: int, pid: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of pages that are in memory, at most ``PIECE`` long.

    Others hold no object that is in use (stacks and arenas never touched), or would have to be fetched
    from swap first. Bit 63 of an entry of /proc/PID/pagemap says: present (proc_pid_pagemap(5)).
    """
    for first, last in _areas(pid):
        for at in range(first, last, PIECE):
            end = min(at + PIECE, last)
            flags = os.pread(pages, (end - at) // _PAGE * 8, at // _PAGE * 8)[7::8]
            run = None
            for page, flag in enumerate(flags if flags.strip(b"\0") else b""):
                if flag & 0x80 and run is None:
                    run = page
                elif not flag & 0x80 and run is not None:
                    yield at + run * _PAGE, at + page * _PAGE
                    run = None
            if run is not None:
                yield at + run * _PAGE, at + len(flags) * _PAGE


def _hits(finder: BytesAhoCorasick, data: bytes, start: int) -> Iterator[FoundWord]:
    for _, at, _ in finder.find_matches_as_indexes(data):
        if at % 8 == 0 and data[at + _COMPARED : at + 8] == b"\0\0":
            yield FoundWord(start + at, int.from_bytes(data[at : at + 8], "little"))


def _areas(pid: int) -> Iterator[tuple[int, int]]:
    """Yield the writable private mappings: heap, anonymous memory, data of libraries; no devices."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split(None, 5)
            path = words[5] if len(words) > 5 else ""
            if words[1].startswith("rw") and words[1].endswith("p") and not path.startswith("/dev/"):
                start, _, end = words[0].partition("-")
                yield int(start, 16), int(end, 16)
