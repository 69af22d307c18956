"""One thread for each kind of wait that diag names. argv: DIRECTORY (for a lock file and a FIFO)."""
from __future__ import print_function

import fcntl
import os
import select
import socket
import subprocess
import sys
import threading
import time

try:
    import queue
except ImportError:  # 2.7
    import Queue as queue

HERE = sys.argv[1]
KEEP = []  # what must not be closed while the threads wait


def flock():
    handle = open(os.path.join(HERE, "lock"), "a")
    fcntl.flock(handle, fcntl.LOCK_EX)


def sleep():
    time.sleep(1000)


def get():
    password = "hunter2"
    queue.Queue().get()
    return password


def recv():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    client = socket.create_connection(server.getsockname())
    KEEP.extend([server, server.accept()[0]])
    client.recv(1)


def recv_timeout():
    ours, theirs = socket.socketpair()
    KEEP.append(theirs)
    ours.settimeout(600)
    ours.recv(1)


def accept():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    server.accept()


def epoll():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    loop = select.epoll()
    loop.register(server.fileno(), select.EPOLLIN)
    loop.poll()


def pipe():
    reader, writer = os.pipe()
    KEEP.append(writer)
    os.read(reader, 1)


def fifo():
    path = os.path.join(HERE, "fifo")
    os.mkfifo(path)
    open(path)


def child():
    child = subprocess.Popen(["sleep", "1000"], close_fds=True)
    child.wait()


def lock():
    held = threading.Lock()
    held.acquire()
    held.acquire()


WAYS = (flock, sleep, get, recv, recv_timeout, accept, epoll, pipe, fifo, child, lock)


def main():
    handle = open(os.path.join(HERE, "lock"), "a")
    fcntl.flock(handle, fcntl.LOCK_EX)
    for way in WAYS:
        thread = threading.Thread(target=way, name=way.__name__)
        thread.daemon = True
        thread.start()
    print("ready")
    sys.stdout.flush()
    threading.Event().wait(10000)


main()
