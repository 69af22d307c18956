"""Greenlets of gevent that wait for each other or block their hub, and some that only look like it. argv: CASE.

Python 2.7 and later.
"""

import sys
import time

import gevent
import gevent.event
import gevent.lock
import gevent.queue

KEEP = []


def ready():
    print("ready")
    sys.stdout.flush()


def soon_ready(seconds):
    """Say so after some time, and keep the hub from noticing that all others wait for ever."""

    def ticks():
        gevent.sleep(seconds)
        ready()
        while True:
            gevent.sleep(0.05)

    gevent.spawn(ticks)


class Account(object):
    def __init__(self, lock):
        self.mutex = lock
        self.taken = gevent.event.Event()


def transfer(mine, other):
    with mine.mutex:
        mine.taken.set()
        other.taken.wait()
        with other.mutex:
            print("never")


def abba():
    """Two greenlets, two locks, in opposite order."""
    one, two = Account(gevent.lock.BoundedSemaphore(1)), Account(gevent.lock.RLock())
    greenlets = [gevent.spawn(transfer, one, two), gevent.spawn(transfer, two, one)]
    soon_ready(0.3)
    gevent.joinall(greenlets)


def ring():
    """Three greenlets, semaphores that are taken by acquire()."""
    locks = [gevent.lock.Semaphore(1) for _ in range(3)]

    def work(mine, other):
        mine.acquire()
        gevent.sleep(0.1)
        other.acquire()
        other.release()
        mine.release()

    KEEP.extend(gevent.spawn(work, locks[n], locks[(n + 1) % 3]) for n in range(3))
    soon_ready(0.4)
    KEEP[0].get()


def patched():
    """The standard library's locks, patched; a thread of its is a greenlet."""
    from gevent import monkey

    monkey.patch_all()
    import threading

    one, two = Account(threading.Lock()), Account(threading.RLock())
    for first, second in ((one, two), (two, one)):
        thread = threading.Thread(target=transfer, args=(first, second))
        thread.daemon = True
        thread.start()
    gevent.sleep(0.3)
    ready()
    while True:
        time.sleep(0.05)


def reentry():
    """A greenlet takes a lock that it holds."""
    lock = gevent.lock.BoundedSemaphore(1)

    def balance():
        with lock:
            return 1

    def pay():
        with lock:
            return balance()

    soon_ready(0.2)
    gevent.spawn(pay).join()


def join_each_other():
    greenlets = []

    def first():
        greenlets[1].join()

    def second():
        greenlets[0].get()

    greenlets.extend([gevent.spawn(first), gevent.spawn(second)])
    soon_ready(0.3)
    gevent.wait(greenlets)


# -- a hub that stands still -----------------------------------------------------------------------


def others_wait():
    KEEP.append(gevent.spawn(gevent.sleep, 0.01))
    gevent.sleep(0.05)


def sleeps():
    others_wait()
    KEEP.append(gevent.spawn(gevent.sleep, 1000))
    gevent.sleep(0)

    def blocks():
        ready()
        time.sleep(1000)  # not patched

    gevent.spawn(blocks).join()


def flocks():
    import fcntl
    import tempfile

    first, second = tempfile.NamedTemporaryFile(), None
    second = open(first.name)
    fcntl.flock(first, fcntl.LOCK_EX)

    def blocks():
        ready()
        fcntl.flock(second, fcntl.LOCK_EX)

    gevent.spawn(blocks).join()


def receives():
    import socket

    KEEP.extend(socket.socketpair())

    def blocks():
        ready()
        KEEP[0].recv(1)

    gevent.spawn(blocks).join()


def main_sleeps():
    """The main program blocks, while greenlets want to go on."""
    KEEP.append(gevent.spawn(gevent.sleep, 0.01))
    gevent.sleep(0)
    ready()
    time.sleep(1000)


def callback_sleeps():
    """A callback of the hub itself blocks."""
    KEEP.append(gevent.get_hub().loop.timer(0.1))

    def blocks():
        ready()
        time.sleep(1000)

    KEEP[0].start(blocks)
    gevent.sleep(1000)


# -- healthy ---------------------------------------------------------------------------------------


def fed():
    """Consumers wait for a queue that another greenlet fills now and then; one waits for an event."""
    jobs, event = gevent.queue.Queue(), gevent.event.Event()

    def consumer():
        while True:
            jobs.get()

    def producer():
        while True:
            gevent.sleep(0.3)
            jobs.put(1)

    KEEP.extend([gevent.spawn(consumer), gevent.spawn(consumer), gevent.spawn(producer)])
    KEEP.append(gevent.spawn(event.wait))
    soon_ready(0.2)
    gevent.joinall(KEEP)


def serving():
    """A server without clients."""
    from gevent.server import StreamServer

    server = StreamServer(("127.0.0.1", 0), lambda client, address: None)
    soon_ready(0.2)
    server.serve_forever()


def naps():
    """Everybody sleeps as gevent wants it."""
    KEEP.extend(gevent.spawn(gevent.sleep, 1000) for _ in range(3))
    soon_ready(0.2)
    gevent.joinall(KEEP)


def contended():
    """Eight greenlets take turns."""
    lock = gevent.lock.BoundedSemaphore(1)

    def turn():
        while True:
            with lock:
                gevent.sleep(0.02)

    KEEP.extend(gevent.spawn(turn) for _ in range(8))
    soon_ready(0.2)
    gevent.joinall(KEEP)


def timed():
    """Two locks in opposite order, but with a time limit: one of acquire(), one of gevent.Timeout."""
    one, two = gevent.lock.BoundedSemaphore(1), gevent.lock.BoundedSemaphore(1)

    def first():
        with one:
            gevent.sleep(0.1)
            two.acquire(timeout=600)

    def second():
        with two:
            gevent.sleep(0.1)
            one.acquire()

    def third():
        with gevent.Timeout(600), one:
            one.acquire()

    KEEP.extend([gevent.spawn(first), gevent.spawn(second)])
    soon_ready(0.3)
    gevent.joinall(KEEP)


def limited():
    """A lock taken twice, within a gevent.Timeout around it."""
    one = gevent.lock.BoundedSemaphore(1)

    def work():
        with gevent.Timeout(600):
            with one:
                gevent.sleep(0.05)
                one.acquire()

    soon_ready(0.2)
    gevent.spawn(work).join()


def slow_holder():
    """A lock is held by a greenlet that waits for a client."""
    from gevent import socket

    lock, pair = gevent.lock.BoundedSemaphore(1), socket.socketpair()

    def asks():
        with lock:
            pair[0].recv(1)

    def wants():
        with lock:
            pass

    KEEP.extend([gevent.spawn(asks), gevent.spawn(wants), gevent.spawn(wants), pair])
    soon_ready(0.2)
    gevent.joinall(KEEP[:3])


def thread_pool():
    """A blocking call in a thread of the hub's pool: nobody is held up."""
    KEEP.append(gevent.spawn(gevent.sleep, 1000))
    soon_ready(0.3)
    gevent.get_hub().threadpool.apply(time.sleep, (1000,))


def unused():
    """A program that has gevent, and does not use it."""
    gevent.get_hub()
    ready()
    time.sleep(1000)


globals()[sys.argv[1]]()
