"""Which file system a thread that sleeps in the kernel waits for, and which processes serve that."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import fuse, maps, mounts
from diag.collectors.file_locks import split_device
from diag.model.mounts import FileSystem, Mount
from diag.waits.file_system import is_fuse_wait, may_wait_for_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Thread
    from diag.model.io import Asked, OpenFile

    ThreadId = tuple[int, int]


class _Place(NamedTuple):
    """A mount, the file on it, and whether the kernel itself named it."""

    mount: Mount
    path: str | None
    certain: bool = True


def find(
    inquiry: Inquiry,
    threads: Iterable[Thread],
    asked: Mapping[ThreadId, Asked],
    files: Mapping[tuple[int, int], OpenFile],
) -> dict[ThreadId, FileSystem]:
    """Name the file system of each thread that waits for one."""
    found: dict[ThreadId, FileSystem] = {}
    served: dict[int, fuse.Servers] = {}
    known: dict[int, tuple[Mount, ...]] = {}
    for thread in threads:
        if not may_wait_for_files(thread):
            continue
        if thread.pid not in known:
            known[thread.pid] = mounts.collect(inquiry.host, thread.pid)
        place = _place(inquiry, thread, asked.get((thread.pid, thread.tid)), files, known[thread.pid])
        if place is None:
            continue
        device = place.mount.device
        if place.mount.is_fuse and device not in served:
            served[device] = fuse.servers(inquiry.host, device)
        found[thread.pid, thread.tid] = _file_system(inquiry, place, served.get(device))
    return found


def _file_system(inquiry: Inquiry, place: _Place, served: fuse.Servers | None) -> FileSystem:
    if served is None:
        return FileSystem(mount=place.mount, path=place.path, certain=place.certain)
    for pid in served.pids:
        inquiry.process(pid)  # the link names it
    return FileSystem(
        mount=place.mount,
        path=place.path,
        servers=served.pids,
        certain=place.certain,
        connected=served.connected,
        waiting=fuse.waiting(inquiry.host, place.mount.device),
    )


def _place(
    inquiry: Inquiry,
    thread: Thread,
    asked: Asked | None,
    files: Mapping[tuple[int, int], OpenFile],
    seen: Sequence[Mount],
) -> _Place | None:
    """Find the mount by descriptor, else by path, else by what is mapped, else the only one there is."""
    wants_fuse = is_fuse_wait(thread)
    named = _named(inquiry, thread, asked, files, seen)
    if named and (named.mount.is_fuse or not wants_fuse):
        return named
    # A page fault, a symbolic link, an overlay: what was asked for is not where the answer must come from.
    able = [mount for mount in seen if mount.is_fuse or (mount.is_network and not wants_fuse)]
    if mapped := _mapped(inquiry, thread, able):
        return mapped
    if wants_fuse and len({mount.device for mount in able}) == 1:
        return _Place(able[-1], None, certain=False)
    return None


def _named(
    inquiry: Inquiry,
    thread: Thread,
    asked: Asked | None,
    files: Mapping[tuple[int, int], OpenFile],
    seen: Sequence[Mount],
) -> _Place | None:
    """Find what the arguments of the system call name."""
    if asked is None:
        return None
    if asked.fds and (file := files.get((thread.pid, asked.fds[0]))):
        mount = mounts.of_descriptor(inquiry.host, thread.pid, file.fd, seen)
        return _Place(mount, file.target) if mount and file.kind == "file" else None
    if asked.path is None:
        return None
    path = asked.path
    if not path.startswith("/"):
        below = "cwd" if asked.base is None else f"fd/{asked.base}"
        try:
            path = f"{inquiry.host.link(f'/proc/{thread.pid}/{below}')}/{path}"
        except OSError:
            return None
    mount = mounts.of_path(path, seen)
    return _Place(mount, path) if mount else None


def _mapped(inquiry: Inquiry, thread: Thread, able: Sequence[Mount]) -> _Place | None:
    """Find the one file system that a page fault can wait for: which address it was, nothing tells."""
    if not able:
        return None
    by_device = {split_device(mount.device): mount for mount in able}
    mapped = {
        item.path: item.device for item in maps.collect(inquiry.host, thread.pid) if item.device in by_device
    }
    if len(set(mapped.values())) != 1:
        return None
    path, device = next(iter(mapped.items()))
    return _Place(by_device[device], path if len(mapped) == 1 else None, certain=False)
