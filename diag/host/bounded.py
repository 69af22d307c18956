"""A look at the system that may block for ever, bounded in time."""

from __future__ import annotations

import errno
import queue
import re
import threading
from typing import TYPE_CHECKING, TypeVar, cast

from diag.host import aside

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds a single look may take. Reading cmdline or maps of a process in D state, or stat() on
a dead FUSE mount, can block for ever (measured on 6.18): such looks run in a thread of their own.
"""

_IS_PROC = re.compile(r"/(?:proc|sys)/(?!(?:self|\d+)/root/)|(?!/)\w+$")
"""Paths that lead to no mounted file system, and the mere names of looks at many files."""
_MAY_BLOCK = re.compile(
    r"/(?:cmdline|environ|maps|fd)$|^/proc/[^/]+/(?:task/\d+/)?(?:fd|root|cwd|exe|map_files)(?:/|$)"
)
"""What waits for the memory of a process, and what leads on to its files: their server may never answer."""


def bounded(path: str, look: Callable[[], T]) -> T:
    """Run one look; where the kernel may keep us waiting, in a thread that can be left behind.

    Raises ``TimeoutError`` when it is late, and what ``look`` raises.
    """
    if path.startswith(("/proc/", "/sys/")) and not _MAY_BLOCK.search(path):
        return look()
    late = TimeoutError(errno.ETIMEDOUT, f"no answer within {PATIENCE:g} s", path)
    if not _IS_PROC.match(path) and aside.is_served(path):
        try:
            return aside.aside(look, PATIENCE)
        except TimeoutError:
            raise late from None
    worker: _Worker | None = getattr(_workers, "own", None)
    if worker is None:
        worker = _workers.own = _Worker()
    try:
        answer = worker.run(look)
    except queue.Empty:
        _workers.own = None  # it may be stuck for ever: the next look gets another one
        raise late from None
    if isinstance(answer, BaseException):
        raise answer
    return cast("T", answer)


class _Worker:
    """One thread that looks on behalf of another, kept for its next looks: starting one costs 0.5 ms."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def run(self, look: Callable[[], object]) -> object:
        """Return what ``look`` returns or raises; ``queue.Empty`` when it is late."""
        self._asked.put(look)
        return self._answers.get(timeout=PATIENCE)

    def _serve(self) -> None:
        while True:
            look = self._asked.get()
            try:
                self._answers.put(look())
            except BaseException as error:  # noqa: BLE001 - handed on to who asked
                self._answers.put(error)


_workers = threading.local()
