"""A SIGTERM handler writes to a log that rotates under a file lock, and SIGTERM comes again.

The second handler runs on top of the first, in the same thread, and waits for the lock that the
first one holds. The first can not go on before the second has returned.
"""

import fcntl
import os
import signal
import sys
import time

from common import play, start, up, wait_until_locked


class RotatingLog:
    """A log that several processes write to; whoever holds the lock may rotate it."""

    def __init__(self, directory):
        self.path = f"{directory}/app.log"
        self.lock_path = f"{directory}/app.log.lock"

    def write(self, line):
        with open(self.lock_path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.rotate()
            with open(self.path, "a") as log:
                log.write(line + "\n")

    def rotate(self):
        time.sleep(0.5)  # as long as it takes to compress a day's log


def worker(directory):
    log = RotatingLog(directory)

    def stop(signum, frame):
        log.write(f"{os.getpid()} stops")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    # As servers do (gunicorn, Twisted): system calls go on after a signal.
    signal.siginterrupt(signal.SIGTERM, False)
    up()
    while True:
        time.sleep(1)


def supervisor(directory):
    workers = [start(worker, directory), start(worker, directory)]
    up()
    while any(process.poll() is None for process in workers):
        for process in workers:
            process.terminate()
        time.sleep(0.1)


def newcomer(directory):
    """Start up: write one line to the log, and try until that is possible."""
    path = RotatingLog(directory).lock_path
    with open(path, "a") as lock:
        try_until_locked(lock, path)


def try_until_locked(lock, path):
    up()
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)


def direct(directory):
    start(supervisor, directory)
    wait_until_locked(RotatingLog(directory).lock_path)
    start(newcomer, directory)


if __name__ == "__main__":
    play(direct, supervisor, worker, newcomer)
