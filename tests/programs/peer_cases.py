"""A process that waits for another one, which the test then keeps from running. argv: CASE DIRECTORY.

Prints "waiter PID" and "peer PID". The peer does nothing, as far as the waiter can see.
"""
from __future__ import print_function

import ctypes
import fcntl
import multiprocessing
import os
import socket
import sys
import time

DIRECTORY = sys.argv[2]


def two(peer, waiter):
    """Run both in children, each once it is told to; say who they are."""
    for name, work in (("peer", peer), ("waiter", waiter)):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        print(name, pid)
    print("ready")
    sys.stdout.flush()


def idle():
    while True:
        time.sleep(1000)


def full_pipe():
    reader, writer = os.pipe()

    def peer():
        os.close(writer)
        idle()

    def waiter():
        os.close(reader)
        os.write(writer, b"x" * (1 << 20))

    two(peer, waiter)
    os.close(reader)
    os.close(writer)


def empty_pipe():
    reader, writer = os.pipe()

    def peer():
        os.close(reader)
        idle()

    def waiter():
        os.close(writer)
        os.read(reader, 1)

    two(peer, waiter)
    os.close(reader)
    os.close(writer)


def working():
    """The peer computes, and will write in the end. "lock": it has a file locked meanwhile."""
    reader, writer = os.pipe()
    path = os.path.join(DIRECTORY, "lock")

    def peer():
        held = open(path, "w")
        fcntl.flock(held, fcntl.LOCK_EX)
        while True:
            pass

    def waiter():
        os.close(writer)
        os.read(reader, 1)

    two(peer, waiter)
    os.close(reader)
    os.close(writer)


def listening(server, address, accepts):
    server.bind(address)
    server.listen(1)

    def peer():
        if accepts:
            connection, _ = server.accept()
            connection.recv(10)
        idle()

    def waiter():
        name = server.getsockname()
        server.close()
        client = socket.socket(socket.AF_INET if isinstance(name, tuple) else socket.AF_UNIX)
        client.connect(("127.0.0.1", name[1]) if isinstance(name, tuple) else name)
        client.send(b"request")
        client.recv(10)

    two(peer, waiter)
    server.close()


def tcp():
    listening(socket.socket(), ("127.0.0.1", 0), True)


def tcp_queued():
    """The server never accepts, and listens on both families."""
    server = socket.socket(socket.AF_INET6)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening(server, ("::", 0), False)


def unix():
    listening(socket.socket(socket.AF_UNIX), os.path.join(DIRECTORY, "socket"), True)


def unix_queued():
    listening(socket.socket(socket.AF_UNIX), os.path.join(DIRECTORY, "socket"), False)


def unix_full():
    """The queue of the server is full: connect() itself waits."""
    server = socket.socket(socket.AF_UNIX)
    path = os.path.join(DIRECTORY, "socket")
    server.bind(path)
    server.listen(0)

    def waiter():
        server.close()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for client in clients:
            client.connect(path)

    two(idle, waiter)
    server.close()


def child():
    """The waiter is the parent."""
    pid = os.fork()
    if not pid:
        idle()
    print("waiter", os.getpid())
    print("peer", pid)
    print("ready")
    sys.stdout.flush()
    os.waitpid(pid, 0)


def shared_lock():
    lock = multiprocessing.Lock()

    def peer():
        with lock:
            idle()

    def waiter():
        time.sleep(0.5)
        with lock:
            pass

    two(peer, waiter)


def eventfd():
    libc = ctypes.CDLL(None)
    fd = libc.eventfd(0, 0)
    two(idle, lambda: os.read(fd, 8))
    os.close(fd)


def chain():
    """The waiter waits for a file lock; who has it waits for the peer to read a pipe."""
    path = os.path.join(DIRECTORY, "lock")
    reader, writer = os.pipe()
    middle = os.fork()
    if not middle:
        os.close(reader)
        held = open(path, "w")
        fcntl.flock(held, fcntl.LOCK_EX)
        os.write(writer, b"x" * (1 << 20))
    print("middle", middle)

    def waiter():
        os.close(reader)
        time.sleep(0.5)
        fcntl.flock(open(path, "w"), fcntl.LOCK_EX)

    def peer():
        os.close(writer)
        idle()

    two(peer, waiter)
    os.close(reader)
    os.close(writer)


# -- nobody waits for the one that is stopped ------------------------------------------------------


def served():
    """The waiter is a server between two requests of the peer, its client."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)

    def peer():
        client = socket.create_connection(server.getsockname())
        client.send(b"request")
        idle()

    def waiter():
        connection, _ = server.accept()
        connection.recv(100)
        connection.recv(100)

    two(peer, waiter)


def several_writers():
    """Another process may write too."""
    reader, writer = os.pipe()
    two(idle, lambda: (os.close(writer), os.read(reader, 1)))


globals()[sys.argv[1]]()
idle()
