"""Waits for a lock on a file through a library, in one way each; another process of its own has the lock.

argv: CASE DIR. It prints "ready" just before it asks. Runs on Python 2.7 and all of 3.
"""
from __future__ import print_function

import logging
import os
import subprocess
import sys
import time

HOLDER = """
import fcntl, sys, time
files = [open(path, "a") for path in sys.argv[1:]]
for file in files:
    fcntl.flock(file, fcntl.LOCK_EX)
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held")
sys.stdout.flush()
time.sleep(600)
"""


def hold(*paths):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER] + list(paths), stdout=subprocess.PIPE)
    holder.stdout.readline()
    return holder


def ready():
    print("ready")
    sys.stdout.flush()


def use_filelock(path):
    import filelock

    ready()
    with filelock.FileLock(path, timeout=600):
        pass


def use_filelock_acquire(path):
    import filelock

    lock = filelock.FileLock(path)
    ready()
    lock.acquire(timeout=600)


def use_soft_filelock(path):
    import filelock

    soft = path + ".soft"
    with open(soft, "w") as file:
        file.write("1\n")
    ready()
    with filelock.SoftFileLock(soft, timeout=600):
        pass


def use_portalocker(path):
    import portalocker

    ready()
    with portalocker.Lock(path, timeout=600):
        pass


def use_portalocker_blocking(path):
    import portalocker

    handle = open(path, "a")
    ready()
    portalocker.lock(handle, portalocker.LOCK_EX)


def use_fasteners(path):
    import fasteners

    lock = fasteners.InterProcessLock(path)
    ready()
    with lock:
        pass


def use_fasteners_decorator(path):
    import fasteners

    @fasteners.interprocess_locked(path)
    def job():
        pass

    ready()
    job()


def use_fasteners_write(path):
    import fasteners

    lock = fasteners.InterProcessReaderWriterLock(path)
    ready()
    with lock.write_lock():
        pass


def use_lockfile(path):
    import lockfile

    with open(path + ".lock", "w"):
        ready()
    with lockfile.LockFile(path):
        pass


def use_mkdir_lockfile(path):
    from lockfile.mkdirlockfile import MkdirLockFile

    os.mkdir(path + ".lock")
    ready()
    MkdirLockFile(path).acquire(timeout=600)


def use_zc_lockfile(path):
    import zc.lockfile

    ready()
    while True:
        try:
            lock = zc.lockfile.LockFile(path)
            break
        except zc.lockfile.LockError:
            time.sleep(0.1)
    return lock


def use_rotating_log(path):
    try:
        from concurrent_log_handler import ConcurrentRotatingFileHandler
    except ImportError:
        from cloghandler import ConcurrentRotatingFileHandler

    log = logging.getLogger("rotating")
    log.addHandler(ConcurrentRotatingFileHandler(path, "a", 100, 2))
    ready()
    log.error("hello")


def use_tenacity(path):
    import fcntl

    import tenacity

    @tenacity.retry(wait=tenacity.wait_fixed(0.5))
    def take_lock(path):
        handle = open(path, "a")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    ready()
    take_lock(path)


def use_backoff(path):
    import fcntl

    import backoff

    @backoff.on_exception(backoff.constant, (IOError, OSError), interval=0.5, jitter=None)
    def take(path):
        handle = open(path, "a")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle

    ready()
    take(path)


if __name__ == "__main__":
    path = os.path.join(sys.argv[2], "a.lock")
    directory, name = os.path.split(path)
    # concurrent-log-handler makes names of its own.
    others = [os.path.join(directory, other) for other in (".__a.lock", ".__a.lock.lock", "a.lock.lock.log")]
    holder = hold(path, *others)
    globals()["use_" + sys.argv[1]](path)
