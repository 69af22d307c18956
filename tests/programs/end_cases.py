"""Pipes that are read to their end, and ends that a process has itself. argv: CASE. Python 2.7 to 3.x."""
from __future__ import print_function

import os
import signal
import socket
import subprocess
import sys
import threading
import time

LEAVES_DAEMON = "sleep 1000 & echo started"
KEEP = []


def ready(**roles):
    for role, pid in roles.items():
        print(role, pid)
    print("ready")
    sys.stdout.flush()


def communicate():
    """The child has ended, but not the daemon that it has started with its own output."""
    child = subprocess.Popen(LEAVES_DAEMON, shell=True, stdout=subprocess.PIPE)
    ready()
    child.communicate()


def both_pipes():
    child = subprocess.Popen(LEAVES_DAEMON, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready()
    child.communicate()


class Service(object):
    def __init__(self):
        self.starter = subprocess.Popen(LEAVES_DAEMON, shell=True, stdout=subprocess.PIPE)

    def output(self):
        return self.starter.stdout.read()


def reads_all():
    """Waits for the child, and then reads what it has said; in a thread of a service that goes on."""
    service = Service()
    threading.Thread(target=service.output).start()
    ready()
    while True:
        time.sleep(0.1)


def shell():
    """A shell takes a command's output."""
    ready()
    os.execvp("sh", ["sh", "-c", "x=$(%s); echo $x" % LEAVES_DAEMON])


def sibling():
    """A second child has inherited the pipe to the first one, which waits for its end."""
    first = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=open(os.devnull, "w"), close_fds=True)
    second = os.fork()
    if second == 0:
        os.dup2(first.stdin.fileno(), 9)
        os.execvp("sleep", ["sleep", "1000"])
    first.stdin.close()
    ready(keeper=second)
    first.wait()


def own_pipe():
    """A thread writes more into a pipe than fits; who should read it waits for a lock of the writer."""
    reader, writer = os.pipe()
    lock = threading.Lock()

    def read():
        with lock:
            os.read(reader, 1)

    with lock:
        threading.Thread(target=read).start()
        ready()
        os.write(writer, b"x" * (1 << 20))


def own_sockets():
    """Two threads, each of which waits for the other to say something."""
    one, other = socket.socketpair()
    threading.Thread(target=one.recv, args=(1,)).start()
    ready()
    other.recv(1)


# -- healthy ---------------------------------------------------------------------------------------


def child_works():
    child = subprocess.Popen("sleep 1000; echo", shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ready()
    child.communicate()


def forwards():
    """A supervisor that forwards what its daemon says, line by line, for ever."""
    child = subprocess.Popen("sleep 1000 & exit 0", shell=True, stdout=subprocess.PIPE)
    child.wait()
    ready()
    while True:
        child.stdout.readline()


def log_process():
    """The same by a program that has the pipe on its standard input."""
    ready()
    os.execvp("sh", ["sh", "-c", "(sleep 1000 &) | cat"])


def woken_by_signal():
    """Its handler writes into the pipe that it reads."""
    reader, writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(writer, b"x"))
    ready()
    os.read(reader, 1)


def woken_by_thread():
    """A worker tells through a socket that it is done; it has nothing to do."""
    one, other = socket.socketpair()
    event = threading.Event()

    def work():
        event.wait()
        other.send(b"x")

    threading.Thread(target=work).start()
    ready()
    one.recv(1)


globals()[sys.argv[1]]()
