"""A service that can not stop, and can not start again.

Its log is rotated under a file lock. Its SIGTERM handler logs. Its supervisor sends SIGTERM again
every 0.1 s. The second signal comes while the first one's log line rotates the log: the handler
is entered again and asks for the lock that its own outer frame holds.

argv: service DIR WORKERS   (send it SIGTERM: "stop the service")
      newcomer DIR          (a fresh process: it never gets past its first log line)
"""
from __future__ import print_function

import logging
import logging.handlers
import multiprocessing
import os
import signal
import subprocess
import sys
import time

from filelock import FileLock

# Compressing this many bytes takes longer than the supervisor's 0.1 s on any machine.
LOG_SIZE = 12 << 20


class SharedRotatingHandler(logging.handlers.BaseRotatingHandler):
    """Rotates a log that several processes write: whoever gets the file lock does it."""

    def __init__(self, path):
        logging.handlers.BaseRotatingHandler.__init__(self, path, "a")
        directory, name = os.path.split(path)
        self.lock_file_name = os.path.join(directory, "." + name)
        self.rotated = path + ".1.gz"

    def shouldRollover(self, record):
        return not os.path.exists(self.rotated)

    def doRollover(self):
        with FileLock(self.lock_file_name):
            if self.shouldRollover(None):
                self.compress()
                self.stream.close()
                self.stream = self._open()

    def compress(self):
        # 2.7 enters a handler a second time only from a system call that the signal interrupts,
        # such as the wait for gzip.
        subprocess.call(["gzip", "--force", "--keep", self.baseFilename])
        os.rename(self.baseFilename + ".gz", self.rotated)
        os.remove(self.baseFilename)


def set_up_logging(directory):
    handler = SharedRotatingHandler(os.path.join(directory, "python-error.log"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)


def exit_signal_handler(number, frame):
    """What every process of the service does on SIGTERM."""
    logging.info("catch signal %s, exit ...", number)
    os._exit(0)


def stop_signal_handler(number, frame):
    """What the supervisor does on SIGTERM: asks its workers to leave until all have left."""
    while multiprocessing.active_children():
        for worker in multiprocessing.active_children():
            worker.terminate()
        time.sleep(0.1)
    os._exit(0)


def work(up):
    signal.signal(signal.SIGTERM, exit_signal_handler)
    up.release()
    while True:
        time.sleep(0.5)


def service(directory, workers):
    path = os.path.join(directory, "python-error.log")
    with open(path, "wb") as log:
        log.write(os.urandom(LOG_SIZE))
    set_up_logging(directory)
    signal.signal(signal.SIGTERM, stop_signal_handler)
    context = multiprocessing
    if hasattr(multiprocessing, "get_context"):
        context = multiprocessing.get_context("fork")
    up = context.Semaphore(0)
    family = [context.Process(target=work, args=(up,)) for _ in range(int(workers))]
    for member in family:
        member.start()
    for _ in family:
        up.acquire()
    for number, member in enumerate(family):
        print("worker%d %d" % (number, member.pid))
    print("ready")
    sys.stdout.flush()
    while True:
        time.sleep(1000)


def newcomer(directory):
    set_up_logging(directory)
    print("ready")
    sys.stdout.flush()
    logging.info("starting")


if __name__ == "__main__":
    # From 3.0 on each signal nests one more handler on the stack. The usual limit of 1,000 frames
    # would end the process after some 10 s.
    sys.setrecursionlimit(20000)
    {"service": service, "newcomer": newcomer}[sys.argv[1]](*sys.argv[2:])
