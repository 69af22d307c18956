"""A log that is added to, renamed, copied, removed, made anew or cut short while somebody reads it."""

from __future__ import annotations

import os
from contextlib import suppress

from diag.host import unpack
from diag.host.cut import newlines
from diag.host.names import to_path
from diag.host.search import open_log

STEP = 1 << 20
"""Bytes read at a time."""

_MARK = 64  # bytes before the place read last: where they have changed, the file was begun anew
_HEAD = 1024  # bytes by which a log is known again under another name


class Heads:
    """How the logs that were met begin: rotation gives them other names, or copies them.

    Not their inodes: a file made anew often gets the number of the one that was just removed.
    """

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def note(self, head: bytes, before: bytes = b"") -> None:
        """Keep how a log begins, which so far was known by less."""
        if head.startswith(before):
            self._known.discard(before)
        if head:
            self._known.add(head)

    def known(self, handle: int) -> bool:
        """Whether all that a file begins with was read under another name; packed ones always were."""
        head = os.pread(handle, _HEAD, 0)
        return unpack.compression(handle) is not None or any(map(head.startswith, self._known))


class LogFile:
    """One log under one path."""

    def __init__(self, path: str, heads: Heads, *, whole: bool) -> None:
        """``whole``: what it holds already is new, too. Raises ``OSError``."""
        self._path, self._heads = path, heads
        self._handle = open_log(path)
        self.begun = 0  # how often the file was begun anew
        self.position = 0 if whole else os.fstat(self._handle).st_size
        self._mark = os.pread(self._handle, _MARK, max(0, self.position - _MARK))
        self._head = b""
        self._note()

    @classmethod
    def later(cls, path: str, heads: Heads) -> LogFile:
        """Follow a log that has appeared: what it holds is new unless it was read under another name."""
        handle = open_log(path)
        try:
            return cls(path, heads, whole=not heads.known(handle))
        finally:
            os.close(handle)

    def read(self) -> bytes | None:
        """Return what is new, b"" where nothing is. Raises ``OSError``."""
        if self._changed():
            self._begin()  # cut short where it lies (logrotate's copytruncate), and written to again
        data = os.pread(self._handle, STEP, self.position)
        if data:
            self.position += len(data)
            self._mark = (self._mark + data)[-_MARK:]
            self._note()
            return data
        with suppress(FileNotFoundError):  # renamed, and not yet made anew: more may come to the old one
            if not os.path.samestat(os.stat(to_path(self._path)), os.fstat(self._handle)):
                fresh = open_log(self._path)
                os.close(self._handle)
                self._handle = fresh
                self._begin()
                if self._heads.known(fresh):  # what stood next to it took its name: log.1 became log.2
                    self.position = os.fstat(fresh).st_size
                    self._mark = os.pread(fresh, _MARK, max(0, self.position - _MARK))
                self._note()
        return b""

    def _changed(self) -> bool:
        """Whether what was read is no longer what stands there; new lines may be as long, and end alike."""
        mark = os.pread(self._handle, len(self._mark), max(0, self.position - len(self._mark)))
        return mark != self._mark or os.pread(self._handle, len(self._head), 0) != self._head

    def _begin(self) -> None:
        self.position, self._mark, self._head = 0, b"", b""
        self.begun += 1

    def _note(self) -> None:
        if len(self._head) < _HEAD:
            head = os.pread(self._handle, min(_HEAD, self.position), 0)
            self._heads.note(head, self._head)
            self._head = head

    def lines(self) -> int:
        """Count the lines before the place where reading goes on."""
        found = at = 0
        while at < self.position and (block := os.pread(self._handle, min(STEP, self.position - at), at)):
            found += newlines(block)
            at += len(block)
        return found

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)
