"""Locks that were taken and never released, and some that only look like it. argv: CASE."""

import os
import sys
import threading
import time

LOCK = threading.Lock()
SLOW = threading.Lock()
OWNED = threading.RLock()
HANDED = threading.Lock()
GUARD = threading.Lock()
TURNS = threading.Lock()


def ready():
    print("ready")
    sys.stdout.flush()


def start(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


class Cache(object):
    def __init__(self):
        self.mutex = threading.Lock()
        self.table = {}

    def get(self, key):
        self.mutex.acquire()
        value = self.table[key]
        self.mutex.release()
        return value

    def put(self, key, value):
        with self.mutex:
            self.table[key] = value


def exception():
    """A KeyError goes past the release."""
    sys.stderr = open(os.devnull, "w")
    cache = Cache()
    start(cache.get, "missing").join()
    start(cache.put, "a", 1)
    ready()
    cache.put("b", 2)


def places():
    """Both places of a semaphore are lost to exceptions; one waits by acquire(), one by with."""
    sys.stderr = open(os.devnull, "w")
    gate = threading.BoundedSemaphore(2)

    def fetch(key):
        gate.acquire()
        value = {}[key]
        gate.release()
        return value

    def peek():
        with gate:
            pass

    start(fetch, "a").join()
    start(fetch, "b").join()
    start(fetch, "c")
    start(peek)
    ready()
    time.sleep(1000)


def busy_places():
    """All places are taken by those who work inside; a pool's are given back by another function."""
    desk, pool = threading.BoundedSemaphore(1), threading.Semaphore(1)

    def work():
        desk.acquire()
        time.sleep(1000)
        desk.release()

    def get():
        pool.acquire()

    def put():
        pool.release()

    for target in (work, work, get, get):
        start(target)
    if not pool:
        put()
    ready()
    time.sleep(1000)


def early_return():
    """One way out of a function leaves the lock taken."""
    def refresh(stale):
        LOCK.acquire()
        if not stale:
            return
        LOCK.release()

    refresh(False)
    ready()
    with LOCK:
        pass


def ended_thread():
    """A thread ends without giving back the RLock that names it as its owner."""
    def take():
        OWNED.acquire()

    start(take).join()
    ready()
    with OWNED:
        pass


# --- nobody can tell --------------------------------------------------------------------------------


def suspended():
    """A generator stands inside the lock, and is on nobody's stack."""
    def rows():
        GUARD.acquire()
        for row in range(3):
            yield row
        GUARD.release()

    some = rows()
    next(some)
    beside = threading.Timer(600, ready)
    beside.daemon = True
    beside.start()
    ready()
    with GUARD:
        pass


# --- healthy ----------------------------------------------------------------------------------------


def handed_over():
    """The lock is taken by one function and freed by another, which may still come."""
    def begin():
        HANDED.acquire()

    def end():
        HANDED.release()

    begin()
    timer = threading.Timer(600, end)
    timer.daemon = True
    timer.start()
    ready()
    with HANDED:
        pass


def slow_holder():
    """Somebody works under a lock without a finally, and others wait for their turn."""
    def work():
        SLOW.acquire()
        time.sleep(600)
        SLOW.release()

    thread = threading.Thread(target=work)
    thread.daemon = True
    thread.start()
    while not SLOW.locked():
        time.sleep(0.01)
    ready()
    with SLOW: pass


def in_turn():
    """Threads take and release a lock in turn."""
    def work():
        while True:
            TURNS.acquire()
            time.sleep(0.002)
            TURNS.release()

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.daemon = True
        thread.start()
    ready()
    time.sleep(600)


# --- tasks ------------------------------------------------------------------------------------------


def task():
    """A task fails between acquire() and release()."""
    import leaked_tasks

    leaked_tasks.run(leaked_tasks.leak)


def task_across_await():
    """A task is suspended inside a lock of threads, for which the loop itself comes to wait."""
    import leaked_tasks

    leaked_tasks.run(leaked_tasks.across)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
