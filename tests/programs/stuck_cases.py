"""Forks, pools, event loops and the GIL: what hangs, and what only looks like it. argv: CASE [FILE]."""
from __future__ import print_function

import ctypes
import fcntl
import logging
import os
import sys
import tempfile
import threading
import time

KEEP = []
CACHE_LOCK = threading.Lock()


def ready():
    print("ready")
    sys.stdout.flush()


def start(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.daemon = True
    thread.start()
    return thread


def fork_while(holding, use):
    """Fork in the moment when another thread is inside a lock; the child then wants it."""
    inside = threading.Event()
    start(holding, inside)
    inside.wait(30)
    child = os.fork()
    if child == 0:
        use()
        os._exit(0)
    print("child %d" % child)
    ready()
    os.waitpid(child, 0)


def hold_cache(inside):
    with CACHE_LOCK:
        inside.set()
        time.sleep(1000)


def use_cache():
    with CACHE_LOCK:
        pass


def fork_custom():
    fork_while(hold_cache, use_cache)


def fork_threaded():
    """The child has another thread, which is busy with something else."""
    def use():
        start(time.sleep, 1000)
        use_cache()

    fork_while(hold_cache, use)


class Slow(logging.Handler):
    def emit(self, record):
        if record.args:
            record.args[0].set()
            time.sleep(1000)


def fork_logging():
    """Python 3.6 and 2.7 do not reinitialise logging's locks in the child."""
    log = logging.getLogger()
    log.addHandler(Slow())

    def holding(inside):
        log.error("slow %s", inside)

    fork_while(holding, lambda: log.error("from the child"))


def fork_rlock():
    lock = threading.RLock()

    def holding(inside):
        with lock:
            inside.set()
            time.sleep(1000)

    def use():
        with lock:
            pass

    fork_while(holding, use)


def pool_exhausted():
    """Workers submit to their own pool and wait for the result."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(3)
    gate = threading.Barrier(3)

    def inner():
        return 1

    def outer():
        gate.wait()
        return pool.submit(inner).result()

    KEEP.append(pool)
    work = [pool.submit(outer) for _ in range(3)]
    ready()
    work[0].result()


def pool_single():
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    KEEP.append(pool)
    work = pool.submit(lambda: pool.submit(int).result())
    ready()
    work.result()


def loop_sleep():
    """time.sleep in a coroutine."""
    import asyncio

    exec("async def main():\n    ready()\n    time.sleep(1000)", globals())
    asyncio.get_event_loop().run_until_complete(main())  # noqa: F821


def loop_flock():
    import asyncio

    first, second = open(sys.argv[2], "w"), open(sys.argv[2], "w")
    KEEP.extend([first, second])
    fcntl.flock(first, fcntl.LOCK_EX)
    loop = asyncio.new_event_loop()

    def callback():
        ready()
        fcntl.flock(second, fcntl.LOCK_EX)

    loop.call_soon(callback)
    loop.run_forever()


def loop_lock():
    """A thread lock in a callback, held by a worker thread."""
    import asyncio

    inside = threading.Event()
    start(hold_cache, inside)
    inside.wait(30)
    loop = asyncio.new_event_loop()
    loop.call_soon(ready)
    loop.call_soon(use_cache)
    loop.run_forever()


def gil_read():
    """A library call that blocks in read() without releasing the GIL; another thread wants to run."""
    reader, writer = os.pipe()
    KEEP.append(writer)

    def counts():
        while True:
            time.sleep(0.001)

    start(counts)
    start(counts)
    time.sleep(0.1)
    buffer = ctypes.create_string_buffer(10)
    ready()
    ctypes.PyDLL(None).read(reader, buffer, 10)


def import_deadlock():
    """A module that, while it is imported, waits for a thread that imports it as well."""
    directory = tempfile.mkdtemp()
    KEEP.append(directory)
    with open(os.path.join(directory, "plugin.py"), "w") as file:
        file.write(
            "import threading\n"
            "def load():\n"
            "    import plugin\n"
            "    return plugin.DONE\n"
            "thread = threading.Thread(target=load)\n"
            "thread.daemon = True\n"
            "thread.start()\n"
            "thread.join()\n"
            "DONE = True\n"
        )
    sys.path.insert(0, directory)
    ready()
    import plugin


def lost_event():
    """The only other thread has ended without setting the event that the main thread waits for."""
    event = threading.Event()

    def forgets():
        return event

    start(forgets).join()
    ready()
    event.wait()


def leaked_lock():
    """A function has taken a lock and returned by an error path; nobody will release it."""
    def fails():
        CACHE_LOCK.acquire()
        raise ValueError

    try:
        fails()
    except ValueError:
        pass
    ready()
    CACHE_LOCK.acquire()


# -- healthy ---------------------------------------------------------------------------------------


def fork_fine():
    """A forked child whose lock was free; it waits for a thread of its own."""
    child = os.fork()
    if child == 0:
        inside = threading.Event()
        start(hold_cache, inside)
        inside.wait(30)
        use_cache()
    print("child %d" % child)
    ready()
    os.waitpid(child, 0)


def fork_gate():
    """A forked child uses a lock as a signal between its own threads."""
    child = os.fork()
    if child == 0:
        gate = threading.Lock()
        gate.acquire()
        start(lambda: (time.sleep(1000), gate.release()))
        gate.acquire()
    print("child %d" % child)
    ready()
    os.waitpid(child, 0)


def gate_of_one_thread():
    """A lock as a signal: who waits has taken it before, and a thread that is busy releases it."""
    gate = threading.Lock()

    def opener():
        time.sleep(1000)
        gate.release()

    gate.acquire()
    start(opener)
    ready()
    gate.acquire()


def loop_idle():
    import asyncio

    loop = asyncio.new_event_loop()
    loop.call_soon(ready)
    loop.run_forever()


def loop_busy():
    """An event loop whose callbacks are short, and a thread that blocks beside it."""
    import asyncio

    loop = asyncio.new_event_loop()

    def tick():
        time.sleep(0.001)
        loop.call_later(0.01, tick)

    start(time.sleep, 1000)
    loop.call_soon(tick)
    loop.call_soon(ready)
    loop.run_forever()


def gil_released():
    """A plain read: Python releases the GIL around it."""
    reader, _ = os.pipe()
    if os.fork() == 0:
        time.sleep(1000)
    start(time.sleep, 1000)
    ready()
    os.read(reader, 10)


def pool_waiting():
    """Somebody waits for a worker that works, with more in the queue."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(2)
    KEEP.append(pool)
    work = [pool.submit(time.sleep, 1000) for _ in range(5)]
    ready()
    work[4].result()


globals()[sys.argv[1]]()
