"""Processes that wait for each other through pipes, sockets, FIFOs and children. argv: CASE DIRECTORY."""
from __future__ import print_function

import os
import socket
import subprocess
import sys
import threading
import time

KEEP = []
WRITES = "import sys; sys.stdout.write('x' * (1 << 20)); sys.stdout.flush()"
WRITES_ERRORS = "import sys; sys.stderr.write('x' * (1 << 20)); sys.stderr.flush()"
ECHOES = (
    "import sys\nwhile True:\n    line = sys.stdin.readline()\n    sys.stdout.write(line * 100000)\n    sys.stdout.flush()"
)


def ready():
    print("ready")
    sys.stdout.flush()


def python(code, **kwargs):
    return subprocess.Popen([sys.executable, "-c", code], close_fds=True, **kwargs)


def popen_wait():
    """The parent waits for the child to end; the child waits for room in the pipe to the parent."""
    child = python(WRITES, stdout=subprocess.PIPE)
    ready()
    child.wait()


def terminal_wait():
    """The parent of a program on a pseudo-terminal waits for its end before it has read what it prints."""
    import pty

    pid, _ = pty.fork()
    if pid == 0:
        for _ in range(1000):
            os.write(1, b"x" * 1000)
        os._exit(0)
    ready()
    os.waitpid(pid, 0)


def terminal_input():
    """A program waits for somebody to type, and the one that shows its terminal for the program."""
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.read(0, 1)
        os._exit(0)
    ready()
    os.read(master, 1)


def popen_stderr():
    """Reads all of stdout first, while the child waits for room in stderr."""
    child = python(WRITES_ERRORS, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready()
    child.stdout.read()


def popen_with_heartbeat():
    """The same as popen_wait in a service that has another thread, which sleeps."""
    thread = threading.Thread(target=time.sleep, args=(1000,))
    thread.daemon = True
    thread.start()
    popen_wait()


def two_way():
    """The parent writes all its input before it reads any output."""
    child = python(ECHOES, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ready()
    for _ in range(100000):
        child.stdin.write(b"work to be done\n")
    child.stdin.close()
    child.stdout.read()


def rpc_ring():
    """Three processes, each in a call to the next, who is in a call too and does not answer."""
    pairs = [socket.socketpair() for _ in range(3)]
    for n in range(3):
        if n and os.fork():
            continue
        if n == 0:
            continue
        serve(pairs, n)
    ready()
    serve(pairs, 0)


def calls_itself():
    """A server with one thread that asks itself something: the connection waits to be accepted."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    client = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    client.sendall(b"question")
    served.recv(100)
    ready()
    again = socket.create_connection(listener.getsockname())
    again.sendall(b"question")
    again.recv(100)


def served_by_thread():
    """The same with a thread that accepts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)

    def answer():
        while True:
            listener.accept()[0].recv(100)
            time.sleep(600)

    threading.Thread(target=answer, daemon=True).start()
    for _ in range(2):
        again = socket.create_connection(listener.getsockname())
    ready()
    again.recv(100)


def serve(pairs, n):
    mine, other = pairs[n][0], pairs[(n + 1) % 3][1]
    for m, (one, two) in enumerate(pairs):
        if one is not mine:
            one.close()
        if two is not other:
            two.close()
    mine.sendall(b"question")
    mine.recv(100)
    other.recv(100)
    other.sendall(b"answer")


def fifo_read():
    """Opens a FIFO for reading that nobody writes to."""
    path = os.path.join(sys.argv[2], "fifo")
    os.mkfifo(path)
    ready()
    open(path).read()


def fifo_server():
    """Reads requests from a FIFO, and has it open for writing too: no client's close is its end."""
    path = os.path.join(sys.argv[2], "fifo")
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    ready()
    os.read(fd, 100)


def own_write_end():
    """Reads a pipe to its end, but has its own copy of the write end open."""
    reader, writer = os.pipe()
    KEEP.append(writer)
    child = subprocess.Popen(["true"])
    child.wait()
    ready()
    os.read(reader, 1)


# -- healthy ---------------------------------------------------------------------------------------


def communicate():
    """Reads as it should: the child works."""
    child = python("import time; print('x' * 100000); time.sleep(1000)", stdout=subprocess.PIPE)
    ready()
    child.communicate()


def wait_for_worker():
    child = python("import time; time.sleep(1000)")
    ready()
    child.wait()


def master():
    """A master that waits for any of its idle workers."""
    for _ in range(3):
        if os.fork() == 0:
            server = socket.socket()
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            server.accept()
    ready()
    os.wait()


def slow_reader():
    """A full pipe whose reader is busy and will come back to it."""
    child = python(WRITES, stdout=subprocess.PIPE)
    ready()
    while True:
        time.sleep(0.4)
        child.stdout.read(1)


def client():
    """A request to a server that works on it."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        theirs.recv(10)
        time.sleep(1000)
    theirs.close()
    ours.sendall(b"request")
    ready()
    ours.recv(10)


globals()[sys.argv[1]]()
