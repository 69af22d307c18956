"""The file locks that threads of a core wait for: it holds no descriptors, but objects that know theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.pyobjects import files, instances
from diag.model.facts import Gap
from diag.waits.file_lock import blocked_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Frame
    from diag.model.pyobjects import FileObject
    from diag.model.snapshot import SeenThread

FILE_RULES = frozenset(f"L{n:03}" for n in range(1, 9))
_NAMES = {"flock": "flock", "posix": "POSIX lock", "ofd": "OFD lock"}
_MOST_FILES = 2000


def named(inquiry: Inquiry, pid: int, threads: Iterable[SeenThread]) -> tuple[list[SeenThread], list[Gap]]:
    """Name the files of the locks that are waited for, and say of each that a core cannot tell who has it."""
    found: list[SeenThread] = []
    gaps: list[Gap] = []
    known: tuple[FileObject, ...] | None = None
    objects = None
    for seen in threads:
        asked = blocked_in(seen.thread.syscall) if seen.thread.syscall else None
        if asked is None or seen.wait is None:
            found.append(seen)
            continue
        if known is None:
            objects = inquiry.objects(pid)
            known = tuple(_open_files(objects)) if objects else ()
        kind, fd = asked
        path = _path(known, fd) or (_told(objects, seen, fd) if objects else None)
        others = sorted({one.fd for one in known if path and one.path == path and one.fd not in (None, fd)})
        found.append(_with_path(seen, _NAMES[kind], fd, path))
        gaps.append(_gap(seen, _NAMES[kind], fd, path, others))
    return found, gaps


def _open_files(objects: PyObjects) -> Iterator[FileObject]:
    """Every open file object in memory, also one that no frame names."""
    for module, name in (("_io", "FileIO"), ("__builtin__", "file")):
        kind = objects.module_global(module, name)
        for address in instances.of(objects, kind, _MOST_FILES) if kind else ():
            if (one := files.describe(objects, address)) and one.fd is not None and one.path:
                yield one


def _path(known: Iterable[FileObject], fd: int) -> str | None:
    """The path of a descriptor, where all objects that have it agree."""
    paths = {one.path for one in known if one.fd == fd}
    return paths.pop() if len(paths) == 1 else None


def _told(objects: PyObjects, seen: SeenThread, fd: int) -> str | None:
    """The path that a lock object on the stack keeps beside the number of its descriptor."""
    for frame in seen.stack.frames if seen.stack else ():
        for path in _beside(objects, frame, fd):
            return path
    return None


def _beside(objects: PyObjects, frame: Frame, fd: int) -> Iterator[str]:
    for local in frame.locals:
        facts = files.facts_of(objects, local.address)
        if any(type(value) is int and value == fd for value in facts.values()):
            paths = {value for value in facts.values() if isinstance(value, str) and value.startswith("/")}
            if len(paths) == 1:
                yield paths.pop()


def _with_path(seen: SeenThread, name: str, fd: int, path: str | None) -> SeenThread:
    wait = seen.wait
    assert wait is not None
    if path is None:
        return seen
    words = wait.words.replace(f"{name} on descriptor {fd}", f"{name} on {path} (descriptor {fd})", 1)
    return replace(seen, wait=replace(wait, words=words, resource=replace(wait.resource, path=path)))


def _gap(seen: SeenThread, name: str, fd: int, path: str | None, others: Sequence[int | None]) -> Gap:
    place = f"{path} (descriptor {fd})" if path else f"descriptor {fd}"
    also = ""
    if others:
        which = (
            f"descriptor {others[0]}" if len(others) == 1 else f"descriptors {', '.join(map(str, others))}"
        )
        also = f"; the process has the same file open as {which}, so it may wait for itself"
    return Gap(
        source=f"thread {seen.thread.tid}",
        hides=f"who has the {name} on {place} that it waits for",
        reason=f"a core holds no table of file locks{also}",
        hint=f"on its machine, as long as the holder lives: diag locks {path or 'PATH'}",
        blinds=FILE_RULES,
    )
