"""Pools of threads and processes whose workers wait for their own pool, and busy ones. argv: CASE."""
from __future__ import print_function

import multiprocessing
import multiprocessing.pool
import os
import sys
import threading
import time

try:
    import queue
except ImportError:  # 2.7
    import Queue as queue

if hasattr(multiprocessing, "get_context"):
    multiprocessing.set_start_method("fork")
POOL = None
GATE = threading.Event()
STARTED = []


def ready():
    print("ready")
    sys.stdout.flush()


def nap(seconds):
    time.sleep(seconds)


def inner(number):
    return number


def outer(number):
    """Begun in as many workers as there are; each waits for work of the same pool."""
    STARTED.append(number)
    while len(STARTED) < 2:
        time.sleep(0.01)
    return POOL.apply(inner, (number,))


def outer_alone(number):
    return POOL.apply(inner, (number,))


def outer_map(number):
    STARTED.append(number)
    while len(STARTED) < 2:
        time.sleep(0.01)
    return POOL.map(inner, [number])


def thread_pool(work):
    global POOL
    POOL = multiprocessing.pool.ThreadPool(2)
    result = POOL.map_async(work, [1, 2], 1)
    ready()
    result.get()


def threads_apply():
    thread_pool(outer)


def threads_map():
    thread_pool(outer_map)


def process_pool():
    """A worker that was started later than the pool has a copy of it, and gives work to the copy."""
    global POOL
    POOL = multiprocessing.Pool(1, maxtasksperchild=1)
    first = POOL._pool[0].pid
    POOL.apply(inner, (0,))
    while not POOL._pool or POOL._pool[0].pid == first:
        time.sleep(0.05)
    result = POOL.map_async(outer_alone, [1])
    print("worker %d" % POOL._pool[0].pid)
    ready()
    result.get()


def submit(number):
    return POOL.submit(inner, number).result()


def executor():
    """ProcessPoolExecutor: a worker submits to the copy of its own executor."""
    from concurrent.futures import ProcessPoolExecutor

    global POOL
    POOL = ProcessPoolExecutor(2)
    work = [POOL.submit(submit, number) for number in range(2)]
    ready()
    work[0].result()


def ask(connection):
    connection.send("more")
    return connection.recv()


def asks_parent():
    """A worker asks its parent for something that the parent gives the same pool to do."""
    from concurrent.futures import ProcessPoolExecutor

    global POOL, CONNECTION
    ours, CONNECTION = multiprocessing.Pipe()
    POOL = ProcessPoolExecutor(1)
    work = POOL.submit(asked)
    ours.recv()
    ready()
    ours.send(POOL.submit(inner, 1).result())
    work.result()


def asked():
    return ask(CONNECTION)


def worker_dies():
    """A worker is killed at its work: nobody will ever bring the result."""
    pool = multiprocessing.Pool(2)
    result = pool.apply_async(os._exit, (1,))
    ready()
    result.get()


# -- healthy ---------------------------------------------------------------------------------------


def busy_threads():
    pool = multiprocessing.pool.ThreadPool(2)
    result = pool.map_async(nap, [1000] * 9, 1)
    ready()
    result.get()


def busy_processes():
    pool = multiprocessing.Pool(2)
    result = pool.map_async(nap, [1000] * 9, 1)
    ready()
    result.get()


def busy_imap():
    pool = multiprocessing.Pool(2)
    result = pool.imap(nap, [1000] * 9, 1)
    ready()
    next(result)


def slow_input():
    """The workers idle, for the program's own iterator has not yielded any work yet."""
    jobs = queue.Queue()
    pool = multiprocessing.Pool(2)
    result = pool.imap(nap, iter(jobs.get, None))
    ready()
    next(result)


def busy_executor():
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(2)
    work = [pool.submit(nap, 1000) for _ in range(9)]
    ready()
    work[8].result()


def waits_outside():
    """All workers wait for a thread of the program that is not of the pool."""
    pool = multiprocessing.pool.ThreadPool(2)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (time.sleep(1000), done.set()))
    thread.daemon = True
    thread.start()
    result = pool.map_async(lambda _: done.wait(), range(5), 1)
    ready()
    result.get()


def other_pool():
    """Workers of one pool wait for work of another, which is busy."""
    global POOL
    POOL = multiprocessing.pool.ThreadPool(1)
    front = multiprocessing.pool.ThreadPool(2)
    result = front.map_async(lambda _: POOL.apply(nap, (1000,)), range(4), 1)
    ready()
    result.get()


def idle():
    pool = multiprocessing.Pool(2)
    threads = multiprocessing.pool.ThreadPool(2)
    pool.map(abs, range(9))
    threads.map(abs, range(9))
    ready()
    time.sleep(1000)


def idle_executor():
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(2)
    list(pool.map(abs, range(9)))
    ready()
    time.sleep(1000)


globals()[sys.argv[1]]()
