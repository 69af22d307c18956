"""Threads that wait for a result of multiprocessing.Pool or of a process pool: which worker makes it.

A worker says by a variable of its main loop what it works on: the number of the job or of the work item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors.pyobjects import pools
from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits.pool_thread import is_worker, working
from diag.waits.python_locks import Primitive
from diag.waits.scene import actor, at, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Frame, Local
    from diag.model.graph import Actor, Wait
    from diag.model.pyobjects import PoolObject
    from diag.waits.thread_lock import Member

LOST = "lost-work"
_MOST_WORKERS = 64
_MAP = "multiprocessing.pool.MapResult"


class Worker(NamedTuple):
    """One worker of a pool, thread or process."""

    actor: Actor
    job: int | None  # the number of what it works on; None: nothing
    part: int | None = None  # of a job in several parts: which one


class Sought(NamedTuple):
    """What a thread waits for: a job of a pool."""

    pool: PoolObject
    job: int
    result: int  # address of the result or future


def link(
    inquiry: Inquiry,
    members: Sequence[Member],
    waits: Mapping[int, Wait],
    objects: PyObjects,
    parent: Actor | None,
) -> dict[int, Wait]:
    """Return better known waits, by thread id, of those who wait for results that nobody is known to make."""
    found = {}
    for member in members:
        wait = waits.get(member.thread.tid)
        sought = _sought(objects, member) if wait and not wait.holds else None
        if wait is None or sought is None:
            continue
        if parent is not None and _is_left_behind(objects, sought, members):
            found[member.thread.tid] = _left_behind(member, wait, sought, parent)
        elif made := _by_workers(inquiry, members, objects, member, sought):
            resource, holds, text = made
            found[member.thread.tid] = replace(
                wait,
                resource=resource,
                words=f"waits for {resource.name}{time_limit(member.asked)}{at(member.stack)}",
                holds=tuple(Hold(holder=worker.actor, resource=resource) for worker in holds),
                evidence=(*wait.evidence, Evidence(source=f"/proc/{member.process.pid}/mem", text=text)),
            )
    return found


def _sought(objects: PyObjects, member: Member) -> Sought | None:
    wanted = member.wanted
    if wanted is None or not wanted.subject:
        return None
    if wanted.primitive is Primitive.FUTURE:
        for pool in pools.find(objects):
            for number, future in pools.work_ids(objects, pool):
                if future == wanted.subject:
                    return Sought(pool, number, future)
    if wanted.primitive is Primitive.RESULT:
        job = objects.integer(objects.attribute(wanted.subject, "_job"))
        result_pool = pools.of_result(objects, wanted.subject)
        if job is not None and result_pool is not None:
            return Sought(result_pool, job, wanted.subject)
    return None


def _is_left_behind(objects: PyObjects, sought: Sought, members: Sequence[Member]) -> bool:
    """Whether the pool is a copy that fork made: the thread that brings its results is not here."""
    ident = pools.result_ident(objects, sought.pool)
    return ident is not None and all(each.stack.ident != ident for each in members)


def _left_behind(member: Member, wait: Wait, sought: Sought, parent: Actor) -> Wait:
    pid, kind = member.process.pid, sought.pool.type.rpartition(".")[2]
    resource = Resource(
        kind="queued-work",
        key=f"queued-work:{pid}:{sought.pool.address:x}",
        name=f"work given to a copy of a {kind} of pid {parent.pid}",
    )
    text = (
        f"{sought.pool.type} at {sought.pool.address:#x}: the thread that brings its results is none of this "
        f"process; its memory is a copy of that of pid {parent.pid} (the same /proc/PID/auxv)"
    )
    evidence = Evidence(source=f"/proc/{pid}/mem", text=text)
    hold = Hold(holder=actor(member.process), resource=resource, taker=parent.pid, inherited=True)
    return replace(
        wait,
        resource=resource,
        words=f"waits for {resource.name}{time_limit(member.asked)}{at(member.stack)}",
        holds=(hold,),
        evidence=(*wait.evidence, evidence),
    )


def _by_workers(
    inquiry: Inquiry, members: Sequence[Member], objects: PyObjects, member: Member, sought: Sought
) -> tuple[Resource, Sequence[Worker], str] | None:
    """Say which workers make the result, or that any of them could; None where they can not be seen."""
    pool, pid = sought.pool, member.process.pid
    workers = list(_threads(members, pool) if pool.threads else _processes(inquiry, pool))
    size = len(pool.threads) or len(pool.pids)
    if not workers or len(workers) < size:
        return None
    doing = [worker for worker in workers if worker.job == sought.job]
    names = objects.class_names(sought.result)
    if doing and any("IMap" in name for name in names):
        index = objects.integer(objects.attribute(sought.result, "_index"))
        doing = [worker for worker in doing if worker.part == index]
    kind = pool.type.rpartition(".")[2]
    state = f"{pool.type} at {pool.address:#x}: {size} workers; job {sought.job} is"
    if doing and (len(doing) == 1 or _MAP in names):
        who = ", ".join(_named(worker) for worker in doing[:3])
        name = f"the result of work that {who} of a {kind} does"
        resource = Resource(kind="future", key=f"future:{pid}:{sought.result:x}", name=name)
        return resource, doing, f"{state} with {who}"
    if not doing and pool.pids and _is_lost(members, sought, workers):
        name = f"the result of work that a {kind} has lost: its worker has died"
        return Resource(kind=LOST, key=f"{LOST}:{pid}:{sought.result:x}", name=name), (), f"{state} with none"
    resource = Resource(
        kind="queued-work",
        key=f"queued-work:{pid}:{pool.address:x}",
        name=f"work that one of the {size} workers of a {kind} has to begin",
    )
    return resource, workers, f"{state} with none of them"


def _is_lost(members: Sequence[Member], sought: Sought, workers: Sequence[Worker]) -> bool:
    """Whether nobody has a job any more: all workers idle, and so do the threads that bring and fetch.

    One that is between two of them would have arrived when its waiter is looked at the second time.
    """
    queue = sought.pool.queue
    names = [[frame.function.rpartition(".")[2] for frame in each.stack.frames] for each in members]
    brings = any("_handle_tasks" in each and _is_idle(each) for each in names)
    fetches = any("_handle_results" in each and _receives(each) for each in names)
    empty = queue is not None and queue.length == 0
    return empty and brings and fetches and all(worker.job is None for worker in workers)


def _is_idle(names: Sequence[str]) -> bool:
    """Whether the feeder waits for work itself, and not for what the program's own iterator yields.

    Its queue is a SimpleQueue since 3.8, whose get() in C has no frame.
    """
    at = names.index("_handle_tasks")
    return at == 0 or names[at - 1] == "get"


def _receives(names: Sequence[str]) -> bool:
    """Whether the innermost functions receive; in 2.7 that is a method in C, without a frame."""
    return names[0] == "_handle_results" or any("recv" in name for name in names[:3])


def _named(worker: Worker) -> str:
    thread = worker.actor.tid != worker.actor.pid
    return f"thread {worker.actor.thread or worker.actor.tid}" if thread else f"worker pid {worker.actor.pid}"


def _threads(members: Sequence[Member], pool: PoolObject) -> Iterator[Worker]:
    idents = {thread.ident for thread in pool.threads if thread.ident}
    for member in members:
        if member.stack.ident in idents:
            yield _worker(member.actor, working(member.stack.frames), None)


def _processes(inquiry: Inquiry, pool: PoolObject) -> Iterator[Worker]:
    """The worker processes, as many as there are stacks of."""
    pids = [pid for pid in pool.pids if (known := inquiry.process(pid)) and known.state not in "ZX"]
    inquiry.read_stacks(pids[:_MOST_WORKERS], pause=inquiry.pause)
    for pid in pids[:_MOST_WORKERS]:
        stack = next((each for each in inquiry.stacks(pid) if is_worker(each.frames)), None)
        if stack is not None:
            yield _worker(inquiry.actor(pid, pid), working(stack.frames), inquiry.objects(pid))


def _worker(who: Actor, frame: Frame | None, objects: PyObjects | None) -> Worker:
    known = {local.name: local for local in frame.locals} if frame else {}
    item = known.get("call_item")
    if item is not None and objects is not None:  # of concurrent.futures
        return Worker(who, objects.integer(objects.attribute(item.address, "work_id")))
    return Worker(who, _number(known.get("job")), _number(known.get("i")))


def _number(local: Local | None) -> int | None:
    return int(local.value) if local and local.value.isdigit() else None
