"""Searches several compressed files at once: each can only be unpacked by one thread, so others take others.

Plain files are not begun before their turn: the search through one of them uses all cores already.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from diag.host import unpack
from diag.host.base import Progress
from diag.host.search import open_log, search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host.base import Hit
    from diag.host.cut import More

    Batch = tuple[Hit, ...]

WAITING = 8
"""Batches of each file that wait for whoever reads them. What one piece of a log holds is a batch."""


class Ahead:
    """Compressed files in the order in which they will be asked for, as many begun as there are cores."""

    def __init__(self, paths: Sequence[str], needles: Sequence[str], more: More) -> None:
        files = [path for path in dict.fromkeys(paths) if _packed(path)]
        self.needles, self._more = needles, more
        self._later = files if len(files) > 1 else []
        self._begun: dict[str, _Search] = {}
        self._cores = len(os.sched_getaffinity(0))

    def take(self, path: str, progress: Progress) -> Iterator[Batch] | None:
        """Give what the search of a file finds; None: nobody began one."""
        self._begin()
        if found := self._begun.get(path):
            return self._read(path, found, progress)
        if path in self._later:
            self._later.remove(path)  # asked for out of its turn
        return None

    def _begin(self) -> None:
        while self._later and len(self._begun) < self._cores:
            path = self._later.pop(0)
            self._begun[path] = _Search(path, self.needles, self._more)

    def _read(self, path: str, found: _Search, progress: Progress) -> Iterator[Batch]:
        try:
            yield from found.read(progress)
        finally:
            found.stop()
            del self._begun[path]
            self._begin()


class _Search:
    """A search that runs in a thread of its own."""

    def __init__(self, path: str, needles: Sequence[str], more: More) -> None:
        self._batches: queue.Queue[Batch | OSError | None] = queue.Queue(WAITING)
        self._stopped = False
        self._progress = Progress()
        # A daemon: nobody waits for it who no longer wants what it finds.
        threading.Thread(target=self._run, args=(path, needles, more), daemon=True).start()

    def read(self, progress: Progress) -> Iterator[Batch]:
        """Give each batch; raise what the search raised."""
        while (item := self._next(progress)) is not None:
            if isinstance(item, OSError):
                raise item
            yield item

    def _next(self, progress: Progress) -> Batch | OSError | None:
        while True:
            mine = self._progress
            progress.path, progress.done, progress.size = mine.path, mine.done, mine.size
            with suppress(queue.Empty):
                return self._batches.get(timeout=0.2)

    def stop(self) -> None:
        """Want no more."""
        self._stopped = True
        with suppress(queue.Empty):
            self._batches.get_nowait()  # it may wait for a place

    def _run(self, path: str, needles: Sequence[str], more: More) -> None:
        try:
            for batch in search(path, needles, more, self._progress, alone=False):
                self._batches.put(batch)
                if self._stopped:
                    return
            self._batches.put(None)
        except OSError as error:
            self._batches.put(error)


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
