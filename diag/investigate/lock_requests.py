"""Who is blocked on a file lock: the requests of /proc/locks, joined with the threads that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import file_locks, setting, threads
from diag.collectors import process as processes
from diag.collectors.descriptors import DELETED, Descriptor
from diag.investigate.lock_files import ids_of
from diag.model.facts import Evidence
from diag.model.graph import How, Wait
from diag.waits import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.collectors.file_locks import FileLock
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Syscall
    from diag.model.graph import Actor
    from diag.waits.file_lock import Request


class Blocked:
    """One pass over the requests and the threads of a graph."""

    def __init__(self, inquiry: Inquiry, graph: LockGraph) -> None:
        self._inquiry = inquiry
        self._graph = graph
        self._left = list(file_lock.queue(graph.table))
        self.unnamed = 0  # requests of which nobody can tell who made them
        # In a pid namespace the tables leave out who waits for somebody outside.
        self._all_listed = setting.collect(inquiry.host).initial_pid_namespace is not False

    def waits(self) -> Iterable[Wait]:
        """Every thread that sleeps in flock(2), fcntl(2), or for a lease, on one of the files."""
        if self._left or not self._all_listed:
            for pid in self._candidates():
                for tid, call in threads.syscalls(self._inquiry.host, pid):
                    if call and (wait := self._thread(pid, tid, call)):
                        yield wait
        for request in self._left:  # the reader may not see the thread's system call
            if wait := self._process(request):
                yield wait
            elif request[0].pid <= 0 and self._graph.files.is_asked(request[0]):
                self.unnamed += 1

    def _candidates(self) -> list[int]:
        if not self._graph.targets and not self._all_listed:
            return list(processes.pids(self._inquiry.host))
        found = {item.pid for item in self._graph.descriptors}
        found.update(wanted.pid for wanted, _, _ in self._left if wanted.pid > 0)
        return sorted(found)

    def _thread(self, pid: int, tid: int, call: Syscall) -> Wait | None:
        """Join one blocked thread with its request, and strike that off the list."""
        blocked = file_lock.blocked_in(call)
        item = self._descriptor(pid, blocked[1]) if blocked else None
        if blocked is None or item is None:
            return None
        kind, fd = blocked
        asked = file_lock.request_of(
            kind, call, pid, self._graph.files.lock_id(item), self._span(pid, kind, call)
        )
        waiter = self._inquiry.actor(pid, tid)
        found = file_lock.find_request(self._left, asked, ids_of(item))
        if found is not None:
            self._left.remove(found)
            wanted, root, above = found
            return self._wait(waiter, wanted, root, above=above, fd=fd, call=call)
        # Hidden from this reader: OFD requests of another namespace, or a holder in an outer one.
        return self._wait(waiter, asked, None, fd=fd, call=call)

    def _descriptor(self, pid: int, fd: int) -> Descriptor | None:
        known = next((d for d in self._graph.descriptors if (d.pid, d.fd) == (pid, fd)), None)
        if known or self._graph.targets:
            return known
        try:
            link = next((link for link in self._inquiry.host.fds(pid) if link.fd == fd), None)
        except OSError:
            return None
        if link is None:
            return None
        path = link.target.removesuffix(DELETED)
        item = Descriptor(
            pid=pid,
            fd=fd,
            path=path,
            deleted=path != link.target,
            device=link.device,
            inode=link.inode,
        )
        self._graph.files.add(item)
        return item

    def _span(self, pid: int, kind: str, call: Syscall) -> tuple[int, int | None]:
        """The bytes that fcntl(2) asks for, from the target's memory; the whole file where that is hidden."""
        if kind == "flock":
            return 0, None
        try:
            data = self._inquiry.host.read_at(f"/proc/{pid}/mem", call.arguments[2], file_locks.FLOCK_SIZE)
        except (OSError, OverflowError):
            return 0, None
        return file_locks.parse_struct_flock(data)

    def _process(self, request: Request) -> Wait | None:
        wanted, root, above = request
        process = self._inquiry.process(wanted.pid)
        if process is None:
            return None
        sleeping = [thread for thread in self._inquiry.threads(wanted.pid) if thread.wchan == "__break_lease"]
        alone = wanted.pid if process.threads == 1 else None
        tid = sleeping[0].tid if sleeping and wanted.kind == "lease" else alone
        return self._wait(self._inquiry.actor(wanted.pid, tid), wanted, root, above=above)

    def _wait(
        self,
        waiter: Actor,
        wanted: FileLock,
        root: FileLock | None,
        *,
        above: FileLock | None = None,
        fd: int | None = None,
        call: Syscall | None = None,
    ) -> Wait:
        graph, inquiry = self._graph, self._inquiry
        roots = (root,) if root else ()
        standing = [lock for lock in graph.table if lock.depth == 0]
        others = (lock for lock in standing if lock not in roots and file_lock.conflicts(lock, wanted))
        resource = graph.resource_of(root or wanted)
        # Now, not later: reading its stack stops a thread, and makes it seem to have slept only since.
        thread = waiter.tid and threads.collect_one(inquiry.host, waiter.pid, waiter.tid, inquiry.clock)
        return Wait(
            waiter=waiter,
            resource=resource,
            how=How.BLOCKED,
            words=f"waits for {resource.name}",
            since=thread.last_ran if thread else None,
            fd=fd,
            holds=tuple(hold for lock in (*roots, *others) for hold in graph.holds(lock)),
            behind=inquiry.actor(above.pid) if above and above.depth and above.pid > 0 else None,
            evidence=tuple(_evidence(waiter, wanted, call)),
        )


def _evidence(waiter: Actor, wanted: FileLock, call: Syscall | None) -> Iterable[Evidence]:
    if wanted.text:
        yield Evidence(source="/proc/locks", text=wanted.text)
    if call:
        where = f"/proc/{waiter.pid}/task/{waiter.tid}/syscall"
        arguments = " ".join(hex(argument) for argument in call.arguments)
        yield Evidence(source=where, text=f"{call.number} {arguments} ({call.name})")
