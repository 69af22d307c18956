"""Threads that wait for what nobody will send, and some that only look like it. argv: CASE."""

import os
import signal
import socket
import sys
import threading
import time

try:
    import queue
except ImportError:
    import Queue as queue

KEEP = []


def ready(*_):
    print("ready")
    sys.stdout.flush()


def start(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.daemon = True
    thread.start()
    return thread


def died(results):
    sys.stderr = open(os.devnull, "w")
    raise ValueError("the worker dies before it has put its result")


def result_lost():
    """The main program waits for the result of a thread that has died."""
    results = queue.Queue()
    start(died, results).join()
    ready()
    results.get()


def unfinished():
    """A worker gets an item and dies: task_done() is never called."""
    jobs = queue.Queue()
    jobs.put(1)

    def work():
        jobs.get()

    start(work).join()
    ready()
    jobs.join()


def missed_notify():
    """A condition is notified before anybody waits for it."""
    condition = threading.Condition()
    with condition:
        condition.notify()
    ready()
    with condition:
        condition.wait()


def events():
    """Each of two threads waits for the event that the other would set next."""
    one, two = threading.Event(), threading.Event()

    def work():
        one.wait()
        two.set()

    start(work)
    time.sleep(0.1)
    ready()
    two.wait()
    one.set()


def event_and_queue():
    """One waits for an event that only the other sets, that one for the queue that only the first fills."""
    event, jobs = threading.Event(), queue.Queue()

    def work():
        jobs.get()
        event.set()

    start(work)
    time.sleep(0.1)
    ready()
    event.wait()
    jobs.put(1)


def nested_monitor():
    """A thread waits for a condition inside a lock that its notifier needs."""
    lock, condition = threading.Lock(), threading.Condition()

    def notifier():
        with lock, condition:
            condition.notify()

    with lock:
        start(notifier)
        time.sleep(0.1)
        ready()
        with condition:
            condition.wait()


def joined_worker():
    """The main program waits for a worker to end that waits for its next job."""
    jobs = queue.Queue()
    worker = start(jobs.get)
    time.sleep(0.1)
    ready()
    worker.join()


# -- healthy ---------------------------------------------------------------------------------------


def executor_at_exit():
    """As asyncio.run() at its end: it waits for the threads of its executor, one of which waits for an event."""
    import asyncio

    loop = asyncio.new_event_loop()
    loop.run_in_executor(None, threading.Event().wait)
    loop.call_later(0.3, ready)
    loop.run_until_complete(loop.shutdown_default_executor())


def joined_at_exit():
    """A program at its end joins a thread that waits for an event."""
    import atexit

    atexit.register(start(threading.Event().wait).join)
    atexit.register(ready)


def keeps_alive():
    """The main program sleeps until it is killed; a worker idles."""
    start(queue.Queue().get)
    ready()
    threading.Event().wait()


def pauses():
    start(queue.Queue().get)
    ready()
    signal.pause()


def epoll_worker():
    import select

    poller = select.epoll()
    KEEP.extend(socket.socketpair())
    poller.register(KEEP[0].fileno(), select.EPOLLIN)
    start(poller.poll)
    waits_for_worker()


def accept_worker():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    KEEP.append(server)
    start(server.accept)
    waits_for_worker()


def recv_worker():
    KEEP.extend(socket.socketpair())
    start(KEEP[0].recv, 1)
    waits_for_worker()


def sleeping_worker():
    start(time.sleep, 1000)
    waits_for_worker()


def timer():
    KEEP.append(threading.Timer(1000, ready))
    KEEP[0].daemon = True
    KEEP[0].start()
    waits_for_worker()


def timed():
    ready()
    queue.Queue().get(timeout=1000)


def sigterm():
    signal.signal(signal.SIGTERM, lambda *_: KEEP[0].put(1))
    KEEP.append(queue.Queue())
    ready()
    KEEP[0].get()


def alarm():
    """What will be put comes from a timer of the kernel."""
    KEEP.append(queue.Queue())
    signal.signal(signal.SIGALRM, lambda *_: KEEP[0].put(1))
    signal.setitimer(signal.ITIMER_REAL, 1000)
    ready()
    KEEP[0].get()


def multiprocessing_writer():
    import multiprocessing

    jobs = multiprocessing.Queue()
    if os.fork() == 0:
        time.sleep(1000)
    start(jobs.get)
    waits_for_worker()


def shared_semaphore():
    import multiprocessing

    start(multiprocessing.Semaphore(0).acquire)
    waits_for_worker()


def busy():
    def work():
        while True:
            pass

    start(work)
    waits_for_worker()


def waits_for_worker():
    time.sleep(0.1)
    ready()
    queue.Queue().get()


globals()[sys.argv[1]]()
