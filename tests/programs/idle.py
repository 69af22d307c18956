"""Healthy processes that wait, or work, as they should. argv: WAY."""
from __future__ import print_function

import os
import select
import socket
import sys
import threading
import time

try:
    import queue
except ImportError:  # 2.7
    import Queue as queue


def ready():
    print("ready")
    sys.stdout.flush()


def sleep():
    ready()
    while True:
        time.sleep(1000)


def busy():
    ready()
    total = 0
    while True:
        total += 1


def serve():
    """A server without clients, in accept()."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    ready()
    server.accept()


def epoll():
    """An event loop without events."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    poll = select.epoll()
    poll.register(server.fileno(), select.EPOLLIN)
    ready()
    while True:
        poll.poll()


def workers():
    """Threads that wait for work in queue.get()."""
    jobs = queue.Queue()
    threads = [threading.Thread(target=jobs.get, name="worker-%d" % n) for n in range(4)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    ready()
    while True:
        time.sleep(1000)


def parent():
    """A supervisor that waits for its child, which sleeps."""
    child = os.fork()
    if not child:
        while True:
            time.sleep(1000)
    ready()
    os.waitpid(child, 0)


def main():
    ways = {f.__name__: f for f in (sleep, busy, serve, epoll, workers, parent)}
    if sys.argv[1] not in ways:
        sys.exit("unknown way %r, one of %s" % (sys.argv[1], ", ".join(sorted(ways))))
    ways[sys.argv[1]]()


if __name__ == "__main__":
    main()
