"""Locks and pools that processes share. argv: CASE."""
from __future__ import print_function

import multiprocessing
import os
import signal
import sys
import time

if hasattr(multiprocessing, "get_context"):
    multiprocessing = multiprocessing.get_context("fork")


def ready(**roles):
    for role, pid in roles.items():
        print(role, pid)
    print("ready")
    sys.stdout.flush()


def take(lock, done):
    with lock:
        done.send(os.getpid())
        time.sleep(1000)


def want(lock):
    with lock:
        pass


def start(target, *args):
    process = multiprocessing.Process(target=target, args=args)
    process.daemon = True
    process.start()
    return process


def held(kill):
    lock = multiprocessing.Lock()
    ours, theirs = multiprocessing.Pipe()
    holder = start(take, lock, theirs)
    ours.recv()
    waiter = start(want, lock)
    if kill:
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()
    ready(holder=holder.pid, waiter=waiter.pid)
    waiter.join()


def killed_holder():
    """The process that had the lock was killed."""
    held(True)


def living_holder():
    held(False)


def idle_pool():
    """One worker reads the task pipe with its lock, the others wait for that lock: healthy."""
    pool = multiprocessing.Pool(3)
    pool.map(abs, range(10))
    ready()
    time.sleep(1000)


def barrier():
    """One of two parties never comes."""
    gate = multiprocessing.Barrier(2)
    ready()
    gate.wait()


def unfinished():
    """Nobody says of what is in the queue that it is done."""
    jobs = multiprocessing.JoinableQueue()
    jobs.put(1)
    ready()
    jobs.join()


def missing_party():
    """Two processes come to a barrier of three; the parent waits for them to end."""
    gate = multiprocessing.Barrier(3)
    parties = [start(gate.wait) for _ in range(2)]
    ready()
    for party in parties:
        party.join()


def dies_at_work(jobs):
    jobs.get()
    os._exit(1)


def unfinished_by_dead():
    """The worker dies before it says that the work is done."""
    jobs = multiprocessing.JoinableQueue()
    jobs.put(1)
    worker = start(dies_at_work, jobs)
    worker.join()
    ready()
    jobs.join()


def take_place(places):
    places.acquire()
    os._exit(1)


def places_lost():
    """Both places of a semaphore are gone with those who had them."""
    places = multiprocessing.Semaphore(2)
    for _ in range(2):
        start(take_place, places).join()
    ready()
    places.acquire()


def set_by_handler():
    """A worker waits for an event that the parent sets when it is told to stop."""
    stop = multiprocessing.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = start(stop.wait)
    ready()
    worker.join()


def set_by_thread():
    """The same, but a thread that serves sets it."""
    import socket
    import threading

    stop = multiprocessing.Event()
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)

    def serve():
        server.accept()
        stop.set()

    threading.Thread(target=serve).start()
    worker = start(stop.wait)
    ready()
    worker.join()


def works_at_it(jobs):
    jobs.get()
    time.sleep(1000)


def work_goes_on():
    jobs = multiprocessing.JoinableQueue()
    jobs.put(1)
    start(works_at_it, jobs)
    ready()
    jobs.join()


def pool_without_reader():
    """The worker that was reading the task pipe was killed, with the lock of the pipe."""
    pool = multiprocessing.Pool(3)
    pool.map(abs, range(10))
    time.sleep(0.3)
    reader = next(worker for worker in pool._pool if "pipe" in open("/proc/%d/wchan" % worker.pid).read())
    os.kill(reader.pid, signal.SIGKILL)
    ready()
    pool.apply(abs, (1,))


globals()[sys.argv[1]]()
