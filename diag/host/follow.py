"""Reads what is added to logs, for ever: files over their rotations, the kernel's ring, a program's output.

Files are looked at a few times a second, not watched by inotify(7), which says nothing on network and
overlay file systems.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from diag.host.cut import cut
from diag.host.finder import finder_of
from diag.host.followed_file import STEP, Heads, LogFile
from diag.host.names import to_path
from diag.host.records import Hit
from diag.host.search import open_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.host.cut import More
    from diag.host.finder import Finder

TICK = 0.2  # seconds between two looks
_SETTLED = 1.0  # seconds after which lines are given although more keep coming
_AGAIN = 2.0  # seconds between two looks for logs that have appeared


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What to follow: a file (``-`` is standard input), or the output of a program."""

    name: str
    path: str = ""
    argv: tuple[str, ...] = ()


class _Source(Protocol):
    """Something that is read without waiting."""

    def read(self) -> bytes | None:
        """Return what is new, b"" where nothing is, None at the end. Raises ``OSError``."""

    def close(self) -> None:
        """Let go of it."""


class _Pipe:
    """Standard input, or what a program prints."""

    def __init__(self, handle: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self._handle, self._child = handle, child
        self._poll = select.poll()
        self._poll.register(handle, select.POLLIN | select.POLLHUP)

    def read(self) -> bytes | None:
        return (os.read(self._handle, STEP) or None) if self._poll.poll(0) else b""

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


class _Ring:
    """The kernel's messages, one record a read(2); Documentation/ABI/testing/dev-kmsg."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._handle, 0, os.SEEK_END)

    def read(self) -> bytes | None:
        records = []
        for _ in range(1000):
            try:
                records.append(os.read(self._handle, 8192).partition(b"\n")[0] + b"\n")
            except BlockingIOError:
                break
            except BrokenPipeError:  # it has overtaken us: the next read goes on with the oldest
                continue
        return b"".join(records)

    def close(self) -> None:
        os.close(self._handle)


class _Followed:
    """A source, and the lines that came from it but were not given yet."""

    def __init__(self, name: str, source: _Source) -> None:
        self.name, self.source = name, source
        self.ended = False
        self._text, self._since = b"", 0.0
        self._passed = source.lines() if isinstance(source, LogFile) else 0

    def hits(self, finder: Finder, more: More) -> tuple[Hit, ...]:
        """Read on; give the hits of whole lines once nothing more comes at once: what follows may matter."""
        before = getattr(self.source, "begun", 0)
        data = self.source.read()
        if getattr(self.source, "begun", 0) != before:
            found = self._give(len(self._text), finder, more)
            self._text, self._passed, self._since = data or b"", 0, time.monotonic()
            return found
        self.ended = data is None
        if data:
            self._since = self._since if self._text else time.monotonic()
            self._text += data
            if time.monotonic() - self._since < _SETTLED and len(self._text) < STEP:
                return ()
        whole = self._text.rfind(b"\n") + 1
        if self.ended or len(self._text) - whole >= STEP:
            whole = len(self._text)
        return self._give(whole, finder, more)

    def _give(self, size: int, finder: Finder, more: More) -> tuple[Hit, ...]:
        text, self._text = self._text[:size], self._text[size:]
        self._since = time.monotonic()
        if not text:
            return ()
        found = cut(text, 0, 0, finder.begins(text), len(text), more)
        hits = tuple(
            Hit(self._passed + hit.number + 1, hit.offset, hit.text, hit.after) for _, hit in found.hits
        )
        self._passed += found.newlines
        return hits


def follow(
    targets: Callable[[], Sequence[Target]],
    needles: Sequence[str],
    more: More,
    *,
    whole: bool,
    growing: bool,
    stop: Callable[[], bool],
    hidden: Callable[[str, OSError], None],
) -> Iterator[tuple[str, tuple[Hit, ...]]]:
    """Yield the name of a log and its new lines that hold one of ``needles``, as they come.

    ``targets`` is asked every few seconds: logs may appear. ``whole``: what files hold already comes first.
    ``hidden`` is told of what cannot be read (any more). It ends when ``stop`` says so (asked a few times a
    second), or when nothing is left to follow, unless the targets are ``growing``.
    """
    finder = finder_of(tuple(needles))
    logs = _Logs(targets, hidden, whole=whole)
    try:
        while (growing or logs.followed) and not stop():
            busy = False
            for one in list(logs.followed):
                try:
                    hits = one.hits(finder, more)
                except OSError as error:
                    hidden(one.name, error)
                    one.ended, hits = True, ()
                if hits:
                    busy = True
                    yield one.name, hits
                if one.ended:
                    one.source.close()
                    logs.followed.remove(one)
            if not busy:
                time.sleep(TICK)
            logs.look()
    finally:
        for one in logs.followed:
            one.source.close()


class _Logs:
    """What is followed, and what may be one day."""

    def __init__(
        self,
        targets: Callable[[], Sequence[Target]],
        hidden: Callable[[str, OSError], None],
        *,
        whole: bool,
    ) -> None:
        self.followed: list[_Followed] = []
        self._targets, self._hidden, self._whole = targets, hidden, whole
        self._heads = Heads()
        self._known: set[Target] = set()
        self._first, self._next = True, 0.0
        self.look()

    def look(self) -> None:
        """Begin to follow what has appeared since the last look, a few seconds ago."""
        if time.monotonic() < self._next:
            return
        for target in self._targets():
            if target in self._known:
                continue
            self._known.add(target)
            try:
                self.followed.append(_Followed(target.name, self._source(target)))
            except FileNotFoundError as error:  # it may come (back)
                self._known.discard(target)
                if self._first:
                    self._hidden(target.name, error)
            except OSError as error:
                self._hidden(target.name, error)
        self._first, self._next = False, time.monotonic() + _AGAIN

    def _source(self, target: Target) -> _Source:
        if target.argv:
            null = subprocess.DEVNULL
            child = subprocess.Popen(target.argv, stdin=null, stdout=subprocess.PIPE, stderr=null)
            assert child.stdout is not None
            return _Pipe(child.stdout.fileno(), child)
        if target.path == "-":
            return _Pipe(0)
        mode = os.stat(to_path(target.path)).st_mode
        if target.path == "/dev/kmsg":
            return _Ring(target.path)
        if stat.S_ISFIFO(mode):
            return _Pipe(open_log(target.path))
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "is no regular file", target.path)
        if self._first:
            return LogFile(target.path, self._heads, whole=self._whole)
        return LogFile.later(target.path, self._heads)
