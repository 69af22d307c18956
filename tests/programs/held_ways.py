"""Pairs of threads that take two locks in opposite order, each pair in a way of its own, and healthy twins.

argv: [healthy]. A pair's threads are named after its way. Python 2.7 and later.
"""
from __future__ import print_function

import contextlib
import functools
import signal
import sys
import threading
import time

WAYS = {}
HEALTHY = "healthy" in sys.argv


class Meeting(object):
    """Both have their first lock before either wants its second; where all is well they take turns."""

    def __init__(self):
        self.come, self.turn = [], threading.Lock()

    def wait(self):
        self.come.append(1)
        while len(self.come) < 2 and not HEALTHY:
            time.sleep(0.01)


def way(make):
    """``make`` returns what makes two locks and a function that takes them, first and second."""
    WAYS[make.__name__] = make
    return make


def begin(name, make):
    first, second, work = make()
    meeting = Meeting()

    def run(one, two):
        while True:
            if HEALTHY:
                meeting.turn.acquire()
            work(one, two, meeting)
            if HEALTHY:
                meeting.turn.release()
                time.sleep(0.01)

    for pair in ((first, second), (second, first)):
        thread = threading.Thread(target=run, args=pair, name=name)
        thread.daemon = True
        thread.start()


@way
def by_key():
    locks = {"a": threading.Lock(), "b": threading.Lock()}

    def work(one, two, meeting):
        with locks[one]:
            meeting.wait()
            with locks[two]: pass

    return "a", "b", work


class Account(object):
    __slots__ = ("_lock",)

    def __init__(self):
        self._lock = threading.Lock()

    @property
    def lock(self):
        return self._lock

    @contextlib.contextmanager
    def locked(self):
        self._lock.acquire()
        try:
            yield self
        finally:
            self._lock.release()


@way
def by_property():
    def work(one, two, meeting):
        with one.lock:
            meeting.wait()
            with two.lock:
                pass

    return Account(), Account(), work


@way
def by_context_manager():
    def work(one, two, meeting):
        with one.locked():
            meeting.wait()
            with two.locked():
                pass

    return Account(), Account(), work


@way
def by_closure():
    def around(lock):
        def call(function):
            with lock:
                function()

        return call

    def work(one, two, meeting):
        def inner():
            meeting.wait()
            two(int)

        one(inner)

    return around(threading.Lock()), around(threading.Lock()), work


class Guard(object):
    """Enters a lock of its own."""

    def __init__(self):
        self.inner = threading.Lock()

    def __enter__(self):
        self.take()

    def take(self):
        self.inner.acquire()

    def __exit__(self, *raised):
        self.inner.release()


@way
def by_wrapper():
    def work(one, two, meeting):
        with one:
            meeting.wait()
            with two:
                pass

    return Guard(), Guard(), work


if hasattr(contextlib, "ExitStack"):

    @way
    def by_exit_stack():
        def work(one, two, meeting):
            with contextlib.ExitStack() as stack:
                stack.enter_context(one)
                meeting.wait()
                stack.enter_context(two)

        return threading.Lock(), threading.Lock(), work


@way
def by_loop():
    def work(one, two, meeting):
        locks = [one, two]
        for lock in locks:
            lock.acquire()
            meeting.wait()
        for lock in locks:
            lock.release()

    return threading.Lock(), threading.Lock(), work


@way
def by_semaphore():
    def work(one, two, meeting):
        with one:
            meeting.wait()
            with two:
                pass

    return threading.BoundedSemaphore(1), threading.BoundedSemaphore(1), work


@way
def by_partial():
    def take(one, two, meeting):
        one.acquire()
        try:
            meeting.wait()
            with two:
                pass
        finally:
            one.release()

    return threading.Lock(), threading.RLock(), functools.partial(take)


for name, make in sorted(WAYS.items()):
    begin(name, make)
print("ready")
sys.stdout.flush()
while True:
    signal.pause()
