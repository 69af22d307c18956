"""Collects what the waits of some threads are about: files, sockets, their other ends, locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import asked, open_files, sockets, terminals
from diag.investigate import file_systems, gil_waiters, semaphores
from diag.waits.pipe import OPENS_FIFO
from diag.waits.scene import Around, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack, Thread
    from diag.model.graph import Wait
    from diag.model.io import Asked, End, OpenFile, SemaphoreWait, Socket
    from diag.model.mounts import FileSystem

MOST_POLLED = 64
"""Descriptors of one poll or select that are looked at."""
MOST_PIPES = 3
"""Standard input, output and error of a child, which subprocess polls at once."""
_MAY_BE_FIFO = ("read", "write", "readv", "writev")

ThreadId = tuple[int, int]


class Surroundings:
    """Looks, in a few bulk steps, at everything that ``threads`` wait for.

    What their arguments point to is read at once: a moment later it may be something else.
    """

    def __init__(self, inquiry: Inquiry, threads: Iterable[Thread]) -> None:
        self._inquiry = inquiry
        self._host = inquiry.host
        self.threads = tuple(threads)
        self.asked: dict[ThreadId, Asked] = {}
        self._files: dict[tuple[int, int], OpenFile] = {}
        self._sockets: dict[int, Socket] = {}
        self._ends: dict[tuple[int, int], tuple[End, ...]] = {}
        self._file_systems: dict[ThreadId, FileSystem] = {}
        self._semaphores: dict[ThreadId, SemaphoreWait] = {}
        self._hidden = 0
        self._looked = False
        for thread in self.threads:
            if found := asked.collect(self._host, thread, inquiry.clock):
                self.asked[thread.pid, thread.tid] = found

    @property
    def hidden(self) -> int:
        """Processes whose descriptors may not be seen: they may have the other end of anything."""
        return self._hidden

    def _look(self) -> None:
        """Look at the files, sockets and other ends they wait for, once."""
        if self._looked:
            return
        self._looked = True
        self._look_at_keepers()
        self._look_at_files()
        self._look_at_sockets()
        self._look_at_other_ends()
        self._semaphores = semaphores.find(self._inquiry, self.asked)
        self._file_systems = file_systems.find(self._inquiry, self.threads, self.asked, self._files)

    def scenes(
        self, stacks: Mapping[ThreadId, Stack], file_locks: Mapping[ThreadId, Wait]
    ) -> Iterable[Scene]:
        """Yield each thread with all that is known around it."""
        self._look()
        around = Around(
            processes={pid: process for pid, process in self._inquiry.processes.items() if process},
            stacks=stacks,
            files=self._files,
            sockets=self._sockets,
            ends=self._ends,
            hidden=self._hidden,
            gil_waiters=frozenset(gil_waiters.find(self._host, self.threads, stacks)),
            file_locks=file_locks,
            file_systems=self._file_systems,
            semaphores=self._semaphores,
        )
        for thread in self.threads:
            if process := around.processes.get(thread.pid):
                key = (thread.pid, thread.tid)
                yield Scene(process, thread, stacks.get(key), self.asked.get(key), around)

    def _look_at_keepers(self) -> None:
        """Describe the parents of zombies and the tracers of the traced: the links name them."""
        for pid in {thread.pid for thread in self.threads}:
            process = self._inquiry.process(pid)
            if process and process.state in "ZX":
                self._inquiry.process(process.ppid)
            if process and process.tracer is not None:
                self._inquiry.process(process.tracer)

    def _look_at_files(self) -> None:
        for thread in self.threads:
            wanted = self.asked.get((thread.pid, thread.tid))
            if wanted is None:
                continue
            for fd in wanted.fds[:MOST_POLLED]:
                self._open_file(thread.pid, fd)
            call = thread.syscall.name if thread.syscall else None
            file = self._files.get((thread.pid, wanted.fds[0])) if len(wanted.fds) == 1 else None
            if file and file.kind == "file" and call in _MAY_BE_FIFO:
                self._files[thread.pid, file.fd] = open_files.fifo(self._host, file)
            elif wanted.path and thread.wchan in OPENS_FIFO:
                self._add_unopened(thread, wanted)

    def _add_unopened(self, thread: Thread, wanted: Asked) -> None:
        """Give a FIFO that is being opened a number of its own: it has no descriptor yet."""
        if file := open_files.at_path(self._host, thread.pid, wanted.path or ""):
            self._files[thread.pid, -thread.tid] = file
            self.asked[thread.pid, thread.tid] = replace(wanted, fds=(-thread.tid,))

    def _open_file(self, pid: int, fd: int) -> None:
        if (pid, fd) in self._files or (file := open_files.collect(self._host, pid, fd)) is None:
            return
        self._files[pid, fd] = file
        for watched in file.watched[: open_files.MOST_WATCHED]:
            self._open_file(pid, watched)

    def _look_at_sockets(self) -> None:
        by_namespace: dict[str, tuple[int, set[int]]] = {}
        for file in self._files.values():
            if file.kind == "socket":
                namespace = _link(self._host, f"/proc/{file.pid}/ns/net")
                by_namespace.setdefault(namespace, (file.pid, set()))[1].add(file.inode)
        for pid, inodes in by_namespace.values():
            for row in sockets.collect(self._host, pid, frozenset(inodes)):
                self._sockets[row.inode] = row
        for (pid, _), about in self.asked.items():
            if about.address:
                self._look_at_listener(pid, about.fds[0], about.address)

    def _look_at_listener(self, pid: int, fd: int, address: str) -> None:
        """Give a UNIX socket that waits in connect(2) its other end: the queue of that one is full."""
        file = self._files.get((pid, fd))
        row = self._sockets.get(file.inode) if file else None
        if row and not row.peer and (other := sockets.listener(self._host, pid, address)):
            self._sockets[other.inode] = other
            self._sockets[row.inode] = replace(row, peer=other.inode, queued=True)

    def _look_at_other_ends(self) -> None:
        """Find who has the other end of what a thread waits on; one pass over the host answers all."""
        wanted: set[tuple[int, int]] = set()
        for (pid, _), about in self.asked.items():
            if len(about.fds) > 1:
                wanted.update(self._pipes(pid, about))
                continue
            file = self._files.get((pid, about.fds[0])) if about.fds else None
            if file is None or not file.inode:
                continue
            socket = self._sockets.get(file.inode)
            if file.kind == "socket":
                if socket and socket.peer:
                    wanted.add((file.device, socket.peer))
            elif file.kind in ("eventfd", "terminal"):
                self._look_at_other_side(file)
            else:
                wanted.add((file.device, file.inode))
        found, denied = open_files.ends(self._host, frozenset(wanted))
        self._hidden = len(denied)
        for key in wanted:
            self._ends[key] = tuple(end for end in found if (end.device, end.inode) == key)
        for end in found:
            self._inquiry.process(end.pid)

    def _pipes(self, pid: int, about: Asked) -> Iterable[tuple[int, int]]:
        """Yield the few pipes that a thread polls, and nothing else, without a time limit: a child's."""
        files = [self._files.get((pid, fd)) for fd in about.fds]
        are_pipes = len(files) <= MOST_PIPES and all(file and file.kind == "pipe" for file in files)
        if are_pipes and about.limit is None and about.left is None:
            yield from ((file.device, file.inode) for file in files if file)

    def _look_at_other_side(self, file: OpenFile) -> None:
        """Find who has the same eventfd, or the other side of a terminal: all share one inode."""
        key = (file.device, file.inode)
        if key not in self._ends:
            find = open_files.eventfd_ends if file.kind == "eventfd" else terminals.other_side
            self._ends[key], _ = find(self._host, file)
            for end in self._ends[key]:
                self._inquiry.process(end.pid)


def _link(host: Host, path: str) -> str:
    try:
        return host.link(path)
    except OSError:
        return ""
