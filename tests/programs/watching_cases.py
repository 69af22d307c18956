"""Loops that look whether children or threads have ended, and sleep in between. argv: CASE."""
from __future__ import print_function

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

if hasattr(multiprocessing, "get_context"):
    multiprocessing.set_start_method("fork")


def ready():
    print("ready")
    sys.stdout.flush()


def child(target):
    process = multiprocessing.Process(target=target)
    process.start()
    return process


def tell(name, pid):
    print("%s %d" % (name, pid))


def stuck():
    """Waits for a lock that it holds."""
    lock = threading.Lock()
    with lock:
        again(lock)


def again(lock):
    with lock:
        pass


def works():
    while True:
        time.sleep(0.05)


def terminated():
    """Asks again and again for the end of two workers; one's handler takes the lock it interrupted."""
    lock = threading.Lock()

    def worker():
        signal.signal(signal.SIGTERM, lambda number, frame: again(lock))
        with lock:
            tell("stuck", os.getpid())
            ready()
            works()

    workers = [child(worker)]
    while True:
        alive = [each for each in workers if each.is_alive()]
        if not alive:
            break
        time.sleep(0.1)
        for each in alive:
            each.terminate()


class Service(object):
    """Knows its workers by number; a method reaps them."""

    def __init__(self):
        self.workers = {}

    def begin(self):
        for name, target in (("stuck", stuck), ("fine", works)):
            process = child(target)
            self.workers[process.pid] = process
            tell(name, process.pid)

    def reap(self):
        for pid in list(self.workers):
            if not self.workers[pid].is_alive():
                del self.workers[pid]

    def stop(self):
        while self.workers:
            time.sleep(0.1)
            self.reap()


def service():
    one = Service()
    one.begin()
    ready()
    one.stop()


def waitpid():
    pid = os.fork()
    if pid == 0:
        stuck()
    tell("stuck", pid)
    ready()
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.1)


def joined():
    """The pause is a join with a time limit."""
    process = child(stuck)
    tell("stuck", process.pid)
    ready()
    while process.is_alive():
        process.join(0.1)


def full_pipe():
    """Polls for the end of a child whose output nobody reads."""
    code = "import sys; sys.stdout.write('x' * (1 << 20)); sys.stdout.flush()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    tell("stuck", process.pid)
    ready()
    while process.poll() is None:
        time.sleep(0.1)


def waits_again():
    """Waits with a time limit, for ever."""
    process = subprocess.Popen([sys.executable, __file__, "stuck"])
    tell("stuck", process.pid)
    ready()
    while True:
        try:
            process.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            pass


def thread():
    """The same with a thread instead of a process."""
    worker = threading.Thread(target=stuck)
    worker.daemon = True
    worker.start()
    ready()
    while worker.is_alive():
        time.sleep(0.1)


# -- healthy ---------------------------------------------------------------------------------------


def patient():
    """Polls for the end of a child that works."""
    process = child(works)
    ready()
    while process.is_alive():
        time.sleep(0.1)


def supervisor():
    """Starts anew whoever ends: it waits for nobody."""
    workers = [child(works), child(works)]
    ready()
    while True:
        for n, each in enumerate(workers):
            if not each.is_alive():
                workers[n] = child(works)
        time.sleep(0.1)


def looks_after():
    """Looks whether its workers are there, which idle at their queue."""
    jobs = multiprocessing.Queue()
    workers = [child(lambda: [jobs.get() for _ in range(9)]) for _ in range(2)]
    ready()
    while not any(not each.is_alive() for each in workers):
        time.sleep(0.1)


def waits_for_server():
    """Waits for a file that a child makes, and gives up when the child has ended."""
    process = child(works)
    ready()
    while not os.path.exists("/nonexistent/socket"):
        if not process.is_alive():
            raise SystemExit("it has ended")
        time.sleep(0.1)


globals()[sys.argv[1]]()
