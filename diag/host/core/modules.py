"""The files a process had mapped: what they were, and whether the files of that name still are the same."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from diag.host.core import elf
from diag.host.core.elf import PT_LOAD, Segment, code_ranges
from diag.host.names import to_path
from diag.model.core import CoreModule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from diag.host.core.memory import CoreMemory
    from diag.host.core.notes import Mapped

DELETED = " (deleted)"
MOST_MODULES = 20_000


class Disk:
    """The files of the machine the core came from: below ``root``, the program itself perhaps elsewhere."""

    def __init__(self, root: str = "", exe: tuple[str, str] = ("", "")) -> None:
        """``exe``: the path of the program as the process had it, and the file that stands for it."""
        self._root = root.rstrip("/")
        self._exe = exe
        self._handles: dict[str, int] = {}

    def where(self, path: str) -> str:
        """Name the file that stands for what the process called ``path``."""
        if self._exe[1] and path == self._exe[0]:
            return self._exe[1]
        # A path of the core could lead out of the root: ".." is taken as it stands there.
        return f"{self._root}{os.path.normpath(path)}" if self._root else path

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Read a piece of a file; raises ``OSError``. Only ordinary files are opened."""
        if path not in self._handles:
            self._handles[path] = self._open(path)
        return os.pread(self._handles[path], size, offset)

    def close(self) -> None:
        """Let go of all files."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()

    def _open(self, path: str) -> int:
        place = to_path(self.where(path))
        if not place.startswith("/") or not stat.S_ISREG(os.stat(place).st_mode):
            raise FileNotFoundError(2, "not an ordinary file", path)
        if len(self._handles) > 200:
            self.close()
        return os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


class Span(NamedTuple):
    """All mappings of one file."""

    path: str
    first: Mapped
    end: int
    executable: bool


def spans(files: Iterable[Mapped], segments: Mapping[int, Segment]) -> list[Span]:
    """Join the mappings of each file, in the order of their addresses.

    A file that is mapped twice over (a library loaded again after its file was replaced) counts twice.
    """
    found: list[Span] = []
    last: dict[str, int] = {}
    for item in sorted(files):
        segment = segments.get(item.start)
        executable = bool(segment and segment.flags & 1)
        at = last.get(item.path)
        if at is None or (item.offset == 0 and found[at].first.offset == 0):
            if len(found) >= MOST_MODULES:
                break
            last[item.path] = len(found)
            found.append(Span(item.path, item, item.end, executable))
        else:
            span = found[at]
            found[at] = span._replace(end=item.end, executable=span.executable or executable)
    return found


def left_out(
    files: Iterable[Mapped], segments: Mapping[int, Segment], memory: CoreMemory, disk: Disk
) -> Iterator[Segment]:
    """Yield a segment for each mapping that the core has none of: gcore leaves out what is only read.

    What may be done there is told by the program headers of the file, in memory or on disk.
    """
    code: dict[str, tuple[tuple[int, int], ...]] = {}
    first: dict[str, int] = {}
    for item in sorted(files):
        first.setdefault(item.path, item.start)
        if item.start in segments:
            continue
        if item.path not in code and len(code) < MOST_MODULES:
            code[item.path] = _code(item.path, first[item.path], memory, disk)
        runs = any(start <= item.offset < end for start, end in code.get(item.path, ()))
        yield Segment(PT_LOAD, 5 if runs else 4, 0, item.start, 0, item.end - item.start)


def _code(path: str, start: int, memory: CoreMemory, disk: Disk) -> tuple[tuple[int, int], ...]:
    if found := code_ranges(lambda at, size: memory.held(start + at, size)):
        return found
    try:
        return code_ranges(lambda at, size: disk.read(path.removesuffix(DELETED), at, size))
    except OSError:
        return ()


def has_inlined(path: str, build_id: str, disk: Disk) -> bool:
    """Whether a file, or its separate debug file, tells which functions were inlined into others."""
    debug = f"/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    for place in (path, debug if build_id else ""):
        try:
            if place and elf.has_debug_info(lambda at, size, of=place: disk.read(of, at, size)):  # type: ignore[misc]
                return True
        except OSError:
            continue
    return False


def describe(span: Span, memory: CoreMemory, disk: Disk) -> CoreModule:
    """Compare what was mapped with the file of that name today; ``memory`` reads what the core holds."""
    deleted = span.path.endswith(DELETED)
    path = span.path.removesuffix(DELETED)
    start = span.first.start
    mapped = elf.build_id(lambda at, size: memory.held(start + at, size)) if not span.first.offset else None
    now = "unknown"
    today: str | None = None
    readable = False
    try:
        readable = bool(disk.read(path, 0, 1))
        today = elf.build_id(lambda offset, size: disk.read(path, offset, size))
    except FileNotFoundError:
        now = "missing"
    except OSError:
        now = "unknown"
    if mapped and today is not None:
        now = "same" if mapped == today else "replaced"
    elif mapped == "" and today:
        now = "replaced"
    elif mapped and now == "unknown" and readable:
        now = "replaced"  # what lies there is no program or library any more
    return CoreModule(
        path=path,
        start=start,
        end=span.end,
        executable=span.executable,
        deleted=deleted,
        build_id=mapped or "",
        build_id_now=today or "",
        now=now,
    )
