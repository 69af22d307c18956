"""Threads that wait for a future: which thread works on it, or which pool has it in its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.pyobjects import futures, pools
from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits.python_locks import Primitive
from diag.waits.scene import at, time_limit
from diag.waits.task import Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.model.graph import Wait
    from diag.model.pyobjects import PoolObject
    from diag.waits.thread_lock import Member


_MOST = 1000
_LEFT = ("PENDING", "RUNNING")


class Futures:
    """Who works on the futures of one process: its threads, and the pools that have one running."""

    def __init__(self, members: Sequence[Member], objects: PyObjects) -> None:
        self._members = members
        self._objects = objects
        self._pools: tuple[PoolObject, ...] | None = None

    def work(self, pid: int, future: int) -> Work | None:
        """Say who will complete a future; None where no executor has it."""
        state = futures.state(self._objects, future)
        if state == "RUNNING":
            return self._running(pid, future)
        return self._queued(pid, future) if state == "PENDING" else None

    def _running(self, pid: int, future: int) -> Work | None:
        """A worker has the work item of the future in its frames."""
        worker = next((each for each in self._members if _works_on(each, self._objects, future)), None)
        if worker is None:
            return None
        name = worker.stack.thread or str(worker.thread.tid)
        resource = Resource(
            kind="future",
            key=f"future:{pid}:{future:x}",
            name=f"the result of a future that thread {name} works on",
        )
        return Work(resource, (Hold(holder=worker.actor, resource=resource),))

    def _queued(self, pid: int, future: int) -> Work | None:
        """Nobody works on it yet: any worker of the pool could, once it is free."""
        if self._pools is None:
            self._pools = pools.find(self._objects)
        pool = next((pool for pool in self._pools if future in pool.items), None)
        if pool is None:
            return None
        idents = {thread.ident for thread in pool.threads if thread.ident}
        workers = [each for each in self._members if each.stack.ident in idents]
        resource = Resource(
            kind="queued-work",
            key=f"queued-work:{pid}:{pool.address:x}",
            name=f"one of the {len(pool.threads)} workers of a {pool.type.rpartition('.')[2]} to be free",
        )
        text = (
            f"{pool.type} at {pool.address:#x}: {len(pool.threads)} workers, {pool.queued} items in its queue"
        )
        room = pool.max_workers is None or len(pool.threads) < pool.max_workers
        holders = () if room or len(workers) < len(pool.threads) else workers
        return Work(
            resource,
            tuple(Hold(holder=worker.actor, resource=resource) for worker in holders),
            (Evidence(source=f"/proc/{pid}/mem", text=text),),
        )


def link(members: Sequence[Member], waits: Mapping[int, Wait], objects: PyObjects) -> dict[int, Wait]:
    """Return better known waits, by thread id, of those threads that wait for a future."""
    found = {}
    known = Futures(members, objects)
    for member in members:
        wait = waits.get(member.thread.tid)
        if wait is not None and (work := _wanted(member, known, objects)):
            queued = "a future in the queue, for " if work.resource.kind == "queued-work" else ""
            found[member.thread.tid] = replace(
                wait,
                resource=work.resource,
                words=f"waits for {queued}{work.resource.name}{time_limit(member.asked)}{at(member.stack)}",
                holds=work.holds,
                evidence=(*wait.evidence, *work.evidence),
            )
    return found


def _wanted(member: Member, known: Futures, objects: PyObjects) -> Work | None:
    """The work that a thread waits for: of several futures one that a whole pool stands in the way of.

    Where any of them would do, all of them must be such.
    """
    wanted = member.wanted
    if wanted is None or not wanted.subject:
        return None
    if wanted.primitive is Primitive.FUTURE:
        return known.work(member.process.pid, wanted.subject)
    if wanted.primitive is not Primitive.FUTURES:
        return None
    left = [one for one in objects.elements(wanted.subject, _MOST) if futures.state(objects, one) in _LEFT]
    work = [known.work(member.process.pid, one) for one in left]
    queued = [one for one in work if one and one.resource.kind == "queued-work"]
    if queued and (not wanted.expression or len(queued) == len(left)):
        return queued[0]
    return work[0] if len(work) == 1 else None


def _works_on(member: Member, objects: PyObjects, future: int) -> bool:
    for frame in member.stack.frames:
        if frame.function.rpartition(".")[2] == "run" and "/concurrent/futures/" in frame.file:
            item = next((local.address for local in frame.locals if local.name == "self"), None)
            return item is not None and objects.attribute(item, "future") == future
    return False
