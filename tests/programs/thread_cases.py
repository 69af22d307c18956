"""Threads of one process that wait for each other, and some that only look like it. argv: CASE."""
from __future__ import print_function

import os
import signal
import sys
import threading
import time

try:
    import queue
except ImportError:  # 2.7
    import Queue as queue

def start(target, *args, **kwargs):
    thread = threading.Thread(target=target, args=args, **kwargs)
    thread.daemon = True
    thread.start()
    return thread


class Account(object):
    """Holds a lock that others know by another name."""

    def __init__(self, kind=threading.Lock):
        self.mutex = kind()
        self.taken = threading.Event()


def transfer(mine, other):
    with mine.mutex:
        mine.taken.set()
        other.taken.wait(30)
        with other.mutex:
            print("never")


def abba_with():
    """Two threads, two locks, in opposite order."""
    one, two = Account(), Account()
    start(transfer, one, two, name="one-two")
    start(transfer, two, one, name="two-one")


def abba_rlock():
    one, two = Account(threading.RLock), Account(threading.RLock)
    start(transfer, one, two, name="one-two")
    start(transfer, two, one, name="two-one")


def by_acquire(mine, other):
    mine.mutex.acquire()
    mine.taken.set()
    other.taken.wait(30)
    other.mutex.acquire()
    other.mutex.release()
    mine.mutex.release()


def abba_acquire():
    one, two = Account(), Account()
    start(by_acquire, one, two, name="one-two")
    start(by_acquire, two, one, name="two-one")


def retry_timed():
    """Two locks in opposite order, asked for with a time limit again and again, and nobody gives his up."""
    one, two = threading.Lock(), threading.Lock()

    def work(mine, other):
        with mine:
            time.sleep(0.3)
            while not other.acquire(timeout=0.2):
                pass
            other.release()

    start(work, one, two)
    start(work, two, one)


def retry_pausing():
    """The same with tries that do not wait, and a pause between them; a third thread just waits."""
    one, two = threading.Lock(), threading.Lock()

    def work(mine, other):
        mine.acquire()
        time.sleep(0.3)
        while True:
            got = other.acquire(False)
            if got:
                break
            time.sleep(0.2)
        other.release()
        mine.release()

    start(work, one, two)
    start(work, two, one)
    start(one.acquire)


def ring3():
    accounts = [Account() for _ in range(3)]
    for n in range(3):
        start(transfer, accounts[n], accounts[(n + 1) % 3], name="ring-%d" % n)


LOCK_A, LOCK_B = threading.Lock(), threading.Lock()
HAS_A, HAS_B = threading.Event(), threading.Event()


def first_a():
    with LOCK_A:
        HAS_A.set()
        HAS_B.wait(30)
        LOCK_B.acquire()
        LOCK_B.release()


def first_b():
    with LOCK_B:
        HAS_B.set()
        HAS_A.wait(30)
        LOCK_A.acquire()
        LOCK_A.release()


def abba_globals():
    """The locks are module variables: no local names them."""
    start(first_a, name="first-a")
    start(first_b, name="first-b")


def reentry_nested():
    """A method that holds the lock calls another that takes it."""
    account = Account()

    def balance():
        with account.mutex:
            return 1

    def pay():
        with account.mutex:
            return balance()

    start(pay, name="pay")


def reentry_handler():
    """A signal handler asks for the lock that the interrupted code holds."""
    lock = threading.Lock()

    def on_signal(number, frame):
        with lock:
            pass

    signal.signal(signal.SIGUSR1, on_signal)
    with lock:
        print("ready")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1000)


def reentry_queue():
    """A signal handler puts into the queue that the main thread is putting into: a lock of the library."""
    jobs = queue.Queue()

    def on_signal(number, frame):
        jobs.put("from the handler")

    signal.signal(signal.SIGUSR1, on_signal)
    jobs._put = lambda item: os.kill(os.getpid(), signal.SIGUSR1) or time.sleep(1000)
    print("ready")
    sys.stdout.flush()
    jobs.put("first")


def reentry_finalizer():
    """A finalizer asks for the lock under which the last reference is dropped."""
    account = Account()

    class Handle(object):
        def __del__(self):
            with account.mutex:
                pass

    handles = [Handle()]

    def drop():
        with account.mutex:
            del handles[:]

    start(drop, name="drop")


# -- healthy ---------------------------------------------------------------------------------------


def contended():
    """Eight threads take turns: somebody always waits, nobody for long."""
    account = Account()

    def work():
        while True:
            with account.mutex:
                time.sleep(0.02)

    for n in range(8):
        start(work, name="turn-%d" % n)


def consumers():
    """Idle workers in queue.get, in Event.wait and in Condition.wait inside its own lock."""
    jobs, event, condition = queue.Queue(), threading.Event(), threading.Condition()

    def by_condition():
        with condition:
            condition.wait()

    for _ in range(3):
        start(jobs.get)
        start(event.wait)
        start(by_condition)


def pool():
    """An executor whose workers are idle, and one worker that works."""
    from concurrent.futures import ThreadPoolExecutor

    global EXECUTOR
    EXECUTOR = executor = ThreadPoolExecutor(4)
    list(executor.map(time.sleep, [0.05] * 8))
    executor.submit(time.sleep, 1000)


def joins():
    """The main thread waits for a worker that works."""
    def work():
        while True:
            sum(range(1000))
            time.sleep(0.01)

    print("ready")
    sys.stdout.flush()
    thread = start(work)
    while True:
        thread.join(1000)


def timed():
    """Two locks in opposite order, but with a time limit."""
    one, two = threading.Lock(), threading.Lock()

    def work(first, second):
        with first:
            time.sleep(0.3)
            second.acquire(True, 600)

    start(work, one, two)
    start(work, two, one)


def slow_holder():
    """A lock is held by a thread that works for long; the others are slow, not dead."""
    account = Account()

    def hold():
        with account.mutex:
            account.taken.set()
            time.sleep(1000)

    def want():
        with account.mutex:
            pass

    start(hold)
    account.taken.wait(30)
    for _ in range(3):
        start(want)


def handed_over():
    """A lock used as a signal: taken by one thread, released by another that is busy."""
    gate = threading.Lock()
    gate.acquire()

    def opener():
        time.sleep(1000)
        gate.release()

    start(opener)
    start(gate.acquire)


def give_up(one, two):
    """Try for the second lock in a loop as well, but release the first one before each new try."""
    one.acquire()
    while not two.acquire(True, 0.2):
        one.release()
        time.sleep(0.05)
        one.acquire()
    time.sleep(0.05)
    two.release()
    one.release()


def polite():
    """Two locks in opposite order, each thread giving its own up when it does not get the other's."""
    one, two = threading.Lock(), threading.Lock()

    def work(first, second):
        while True:
            give_up(first, second)

    def limited(first, second):
        with first:
            time.sleep(0.3)
            for _ in range(3000):
                if second.acquire(True, 0.2):
                    break

    three, four = threading.Lock(), threading.Lock()
    start(work, one, two)
    start(work, two, one)
    start(limited, three, four)
    start(limited, four, three)


def handler_releases():
    """A lock used as a signal that only a signal handler gives: the main thread takes it twice."""
    woken = threading.Lock()

    def on_signal(number, frame):
        woken.release()

    signal.signal(signal.SIGUSR1, on_signal)
    woken.acquire()
    print("ready")
    sys.stdout.flush()
    woken.acquire()


def main():
    globals()[sys.argv[1]]()
    print("ready")
    sys.stdout.flush()
    while True:
        signal.pause()


main()
