"""Executors and pools: their workers, and the work nobody has begun.

``find(objects)`` reaches them from the threads that serve them; ``describe`` reads one by its address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.pyobjects import locks, queues, threads
from diag.model.pyobjects import PoolObject, ThreadObject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader

THREAD_POOL = "concurrent.futures.thread.ThreadPoolExecutor"
PROCESS_POOL = "concurrent.futures.process.ProcessPoolExecutor"
MULTIPROCESSING = "multiprocessing.pool.Pool"
POOLS = (THREAD_POOL, PROCESS_POOL, MULTIPROCESSING)
MOST_WORKERS = 1000
MOST_ITEMS = 100


def find(objects: PyObjects) -> tuple[PoolObject, ...]:
    """Find the executors and pools that have a thread running in this process."""
    active = objects.module_global("threading", "_active")
    found: list[int] = []
    for _, thread in objects.items(active) if active else ():
        found.extend(_served_by(objects, thread))
    pools = (describe(objects, address) for address in dict.fromkeys(found))
    return tuple(pool for pool in pools if pool)


def _served_by(objects: Reader, thread: int) -> Iterator[int]:
    """Yield the pools among what a thread was started with, by themselves or by a weak reference."""
    arguments = objects.attribute(thread, "_args", "_Thread__args")
    candidates = list(objects.elements(arguments, 20) if arguments else ())
    manages = objects.attribute(thread, "executor_reference")  # of a process pool, since 3.9
    candidates.extend((manages,) if manages else ())
    for one in candidates:
        target = objects.target(one) or one
        if objects.is_a(target, *POOLS):
            yield target


def work_ids(objects: Reader, pool: PoolObject) -> Iterator[tuple[int, int]]:
    """Yield the number and the future of each piece of work of a ProcessPoolExecutor that has no result."""
    pending = objects.attribute(pool.address, "_pending_work_items") if pool.type == PROCESS_POOL else None
    for key, item in objects.items(pending)[:MOST_ITEMS] if pending else ():
        number, future = objects.integer(key), objects.attribute(item, "future")
        if number is not None and future:
            yield number, future


def of_result(objects: PyObjects, result: int) -> PoolObject | None:
    """The pool that an ApplyResult, MapResult or IMapIterator of multiprocessing comes from."""
    named = objects.attribute(result, "_pool")  # 3.8 and later; None once the result is there
    if named and (pool := describe(objects, named)):
        return pool
    cache = objects.attribute(result, "_cache")
    return next((pool for pool in find(objects) if objects.attribute(pool.address, "_cache") == cache), None)


def result_ident(objects: Reader, pool: PoolObject) -> int | None:
    """pthread_self of the thread that brings the results of a multiprocessing pool."""
    handler = objects.attribute(pool.address, "_result_handler")
    thread = threads.thread(objects, handler) if handler else None
    return thread.ident if thread else None


def describe(objects: Reader, address: int) -> PoolObject | None:
    """Read a ThreadPoolExecutor, ProcessPoolExecutor or multiprocessing.Pool; None when it is none."""
    for name in objects.class_names(address):
        if read := {THREAD_POOL: _threads, PROCESS_POOL: _processes, MULTIPROCESSING: _pool}.get(name):
            return read(objects, address)
    return None


def _threads(objects: Reader, address: int) -> PoolObject:
    workers = objects.attribute(address, "_threads")
    queue = objects.attribute(address, "_work_queue")
    idle = objects.attribute(address, "_idle_semaphore")  # 3.8 and later
    waiting = queues.describe(objects, queue) if queue else None
    spare = locks.describe(objects, idle) if idle else None
    items = queues.items(objects, queue, MOST_ITEMS) if queue else ()
    futures = (objects.attribute(item, "future") for item in items)
    return PoolObject(
        address=address,
        type=objects.type_name(address),
        max_workers=objects.integer(objects.attribute(address, "_max_workers")),
        threads=tuple(_workers(objects, workers)) if workers else (),
        queued=waiting.length if waiting else None,
        idle=spare.count if spare else None,
        queue=waiting,
        items=tuple(one for one in futures if one),
        shutdown=objects.truth(objects.attribute(address, "_shutdown")),
    )


def _workers(objects: Reader, container: int) -> Iterator[ThreadObject]:
    for one in objects.elements(container, MOST_WORKERS):
        if found := threads.thread(objects, one):
            yield found


def _processes(objects: Reader, address: int) -> PoolObject:
    pending = objects.attribute(address, "_pending_work_items")
    waiting = objects.attribute(address, "_work_ids")
    workers = objects.attribute(address, "_processes")
    works = [item for _, item in objects.items(pending)[:MOST_ITEMS]] if pending else []
    futures = (objects.attribute(item, "future") for item in works)
    queue = queues.describe(objects, waiting) if waiting else None
    pids = (objects.integer(key) for key, _ in objects.items(workers)[:MOST_WORKERS]) if workers else ()
    return PoolObject(
        address=address,
        type=objects.type_name(address),
        max_workers=objects.integer(objects.attribute(address, "_max_workers")),
        pids=tuple(pid for pid in pids if pid),
        queued=queue.length if queue else None,
        pending=objects.length(pending) if pending else None,
        queue=queue,
        items=tuple(one for one in futures if one),
        shutdown=objects.truth(objects.attribute(address, "_shutdown_thread")),
    )


def _pool(objects: Reader, address: int) -> PoolObject:
    """multiprocessing.Pool, and ThreadPool, whose workers are threads dressed up as processes."""
    cache = objects.attribute(address, "_cache")
    waiting = objects.attribute(address, "_taskqueue")
    workers = objects.attribute(address, "_pool")
    listed = objects.elements(workers, MOST_WORKERS) if workers else ()
    queue = queues.describe(objects, waiting) if waiting else None
    state = objects.value(objects.attribute(address, "_state") or 0)
    pids = (_pid(objects, one) for one in listed)
    return PoolObject(
        address=address,
        type=objects.type_name(address),
        max_workers=objects.integer(objects.attribute(address, "_processes")),
        threads=tuple(found for one in listed if (found := threads.thread(objects, one))),
        pids=tuple(pid for pid in pids if pid),
        queued=queue.length if queue else None,
        pending=objects.length(cache) if cache else None,
        queue=queue,
        shutdown=None if state is None else state not in (0, "RUN"),
    )


def _pid(objects: Reader, process: int) -> int | None:
    popen = objects.attribute(process, "_popen")
    return objects.integer(objects.attribute(popen, "pid")) if popen else None
