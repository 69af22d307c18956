"""One process that takes, holds, asks for or only seems to ask for a lock on a file, in one way.

argv: CASE DIR. It prints "ready" just before its last step, after which it stays where it is.
Runs on Python 2.7 and all of 3.
"""
from __future__ import print_function

import errno
import fcntl
import functools
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref

BUSY = (errno.EAGAIN, errno.EACCES)


class Refused(Exception):
    """Somebody else has the lock."""


class FileLock(object):
    """A lock in the manner of many libraries: tries, sleeps, tries again."""

    def __init__(self, path):
        self.lock_file = path
        self.fd = None

    def _try(self):
        fd = os.open(self.lock_file, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError):
            os.close(fd)
        else:
            self.fd = fd

    def acquire(self, poll_interval=0.05):
        lock_filename = self.lock_file
        while True:
            if self.fd is None:
                self._try()
            if self.fd is not None:
                break
            time.sleep(poll_interval)
        return lock_filename

    def release(self):
        os.close(self.fd)
        self.fd = None

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *error):
        self.release()


def ready():
    print("ready")
    sys.stdout.flush()


def hold(path):
    """Hold the lock in a process of its own, so that this one has to wait."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import fcntl, sys, time; f = open(sys.argv[1], 'a');"
         "fcntl.flock(f, 2); fcntl.lockf(f, 2); print('held'); sys.stdout.flush(); time.sleep(600)", path],
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    return child


class Journal(object):
    """Rotates under a lock on a file, in the manner of log handlers."""

    def __init__(self, path):
        self.lock_file_name = path

    def emit(self, interrupt):
        with FileLock(self.lock_file_name):
            interrupt()


def handler_reenters(path):
    journal = Journal(path)

    def on_term(number, frame):
        ready()
        journal.emit(wait)

    signal.signal(signal.SIGTERM, on_term)
    journal.emit(send_term)


class Service(object):
    def __init__(self, path):
        self.journal = Journal(path)
        signal.signal(signal.SIGUSR1, self.on_signal)

    def on_signal(self, number, frame):
        ready()
        self.journal.emit(wait)


def method_reenters(path):
    service = Service(path)
    service.journal.emit(lambda: send(signal.SIGUSR1))


def lambda_reenters(path):
    journal = Journal(path)
    signal.signal(signal.SIGTERM, lambda *args: (ready(), journal.emit(wait)))
    journal.emit(send_term)


class Dying(object):
    def __init__(self, journal):
        self.journal = journal

    def __del__(self):
        ready()
        self.journal.emit(wait)


def finalizer_reenters(path):
    journal = Journal(path)
    things = [Dying(journal)]
    journal.emit(things.pop)


def weakref_reenters(path):
    journal = Journal(path)
    things = [Journal(path)]

    def gone(reference):
        ready()
        journal.emit(wait)

    keep = weakref.ref(things[0], gone)
    journal.emit(things.pop)
    return keep


def collector_reenters(path):
    journal = Journal(path)

    def collected(phase, info):
        gc.callbacks.remove(collected)
        ready()
        journal.emit(wait)

    gc.callbacks.append(collected)
    journal.emit(gc.collect)


def second_descriptor(path):
    first = open(path, "a")
    fcntl.flock(first, fcntl.LOCK_EX)
    report(path)


def report(target):
    second = open(target, "a")
    ready()
    fcntl.flock(second, fcntl.LOCK_EX)


def send_term():
    send(signal.SIGTERM)


def send(number):
    os.kill(os.getpid(), number)
    wait()


def wait():
    time.sleep(600)


def polls(path):
    holder = hold(path)
    ready()
    with FileLock(path):
        return holder


def polls_plainly(path):
    holder = hold(path)
    handle = open(path, "a")
    ready()
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return holder
        except (IOError, OSError) as error:
            if error.errno not in BUSY:
                raise
        time.sleep(0.05)


def turns(interval):
    while True:
        yield
        time.sleep(interval)


def polls_in_turns(path):
    holder = hold(path)
    lock = FileLock(path)
    ready()
    for _ in turns(0.05):
        lock._try()
        if lock.fd is not None:
            break
    return holder


def retry(function):
    @functools.wraps(function)
    def again(*args, **kwargs):
        while True:
            try:
                return function(*args, **kwargs)
            except Refused:
                select.select([], [], [], 0.05)

    return again


@retry
def take_lock(path):
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (IOError, OSError):
        os.close(fd)
        raise Refused(path)
    return fd


def polls_by_retry(path):
    holder = hold(path)
    ready()
    fd = take_lock(path)
    return holder, fd


def polls_with_event(path):
    holder = hold(path)
    stop = threading.Event()
    lock = FileLock(path)
    ready()
    while lock.fd is None and not stop.is_set():
        lock._try()
        stop.wait(0.05)
    return holder


def polls_soft(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    ready()
    while True:
        try:
            return os.open(path, os.O_CREAT | os.O_EXCL)
        except OSError:
            time.sleep(0.05)


def blocks(path):
    holder = hold(path)
    handle = open(path, "a")
    ready()
    fcntl.flock(handle, fcntl.LOCK_EX)
    return holder


def healthy_worker(path):
    ready()
    while True:
        with open(path, "a") as log:
            log.write("still here\n")
        time.sleep(0.05)


def healthy_holder(path):
    with FileLock(path):
        ready()
        while True:
            time.sleep(0.05)


def healthy_pace(path):
    lock = FileLock(path)
    ready()
    while True:
        lock.acquire()
        lock.release()
        time.sleep(0.05)


def healthy_server(path):
    reader, _ = os.pipe()
    ready()
    while True:
        select.select([reader], [], [], 0.05)


def stops_children(path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ready()
    while child.poll() is None:
        os.kill(child.pid, signal.SIGCONT)
        time.sleep(0.05)


if __name__ == "__main__":
    globals()[sys.argv[1]](os.path.join(sys.argv[2], "a.lock"))
