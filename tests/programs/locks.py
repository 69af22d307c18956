"""One process of a story about file locks. argv: ROLE PATH [MORE ...].

Each role prints "ready" when it has done its part, or is about to ask for what it will not get.
Runs on 2.7 and all of 3.
"""
from __future__ import print_function

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

F_OFD_SETLK, F_OFD_SETLKW = 37, 38
F_SETLEASE = 1024
BUSY = (errno.EAGAIN, errno.EACCES)


def ready(**said):
    for name in sorted(said):
        print("%s %d" % (name, said[name]))
    print("ready")
    sys.stdout.flush()


def open_file(path):
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def record(kind, first, length):
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, first, length, 0)


def lock(kind, fd, first=0, length=0, block=True):
    """Take a lock of one kind; blocking unless told otherwise."""
    if kind == "flock":
        fcntl.flock(fd, fcntl.LOCK_EX if block else fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif kind == "shared":
        fcntl.flock(fd, fcntl.LOCK_SH)
    elif kind == "posix":
        how = fcntl.LOCK_EX if block else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(fd, how, length, first)
    elif kind == "ofd":
        command = F_OFD_SETLKW if block else F_OFD_SETLK
        fcntl.fcntl(fd, command, record(fcntl.F_WRLCK, first, length))
    elif kind == "lease":
        fcntl.fcntl(fd, F_SETLEASE, fcntl.F_WRLCK)
    else:
        raise ValueError(kind)


def sleep():
    while True:
        time.sleep(1000)


# ---- holders: they take the lock and then do something

def hold(path, kind="flock", doing="sleep", *more):
    fd = open_file(path)
    lock(kind, fd)
    DOING[doing](*more)


def hold_ranges(path, kind, *ranges):
    """Hold bytes FIRST-LENGTH ... of one file."""
    fd = open_file(path)
    for pair in ranges:
        first, length = pair.split("-")
        lock(kind, fd, int(first), int(length))
    ready()
    sleep()


def do_sleep():
    ready()
    sleep()


def do_work():
    """Compute for ever."""
    ready()
    number = 0
    while True:
        number += 1


def do_read_pipe():
    """Wait for what nobody will write: both ends are ours."""
    reader, _ = os.pipe()
    ready()
    os.read(reader, 1)


def do_flock(other):
    fd = open_file(other)
    ready()
    fcntl.flock(fd, fcntl.LOCK_EX)


def do_wait_child():
    """Wait for a child that sleeps."""
    child = os.fork()
    if not child:
        os.closerange(3, 20)
        sleep()
    ready(child=child)
    os.waitpid(child, 0)


def do_recv():
    """Ask a server that accepts and never answers (its process is our child)."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    child = os.fork()
    if not child:
        os.closerange(server.fileno() + 1, 30)
        peer = server.accept()
        sleep()
    client = socket.create_connection(server.getsockname())
    server.close()
    ready(server=child)
    client.recv(1)


def do_accept():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    ready()
    server.accept()


def do_write_pipe():
    """Write more than a pipe holds to a child that does not read."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        for fd in range(3, 20):
            if fd != reader:
                os.closerange(fd, fd + 1)
        sleep()
    os.close(reader)
    ready(child=child)
    os.write(writer, b"x" * (1 << 20))


def do_wait_for_thread_lock():
    """Wait for a lock inside the process that nobody will release."""
    guard = threading.Lock()
    guard.acquire()
    ready()
    guard.acquire()


DOING = {
    "sleep": do_sleep, "work": do_work, "read-pipe": do_read_pipe, "flock": do_flock,
    "wait-child": do_wait_child, "recv": do_recv, "accept": do_accept,
    "write-pipe": do_write_pipe, "thread-lock": do_wait_for_thread_lock,
}


# ---- waiters: they ask for what somebody else has

def wait(path, kind="flock", first="0", length="0"):
    fd = open_file(path)
    ready()
    lock(kind, fd, int(first), int(length))


def wait_to_open(path):
    """Open a file that another process has a lease on."""
    ready()
    os.open(path, os.O_RDWR)


def wait_in_thread(path, kind="flock"):
    """A thread waits for the lock, the main thread for the thread."""
    thread = threading.Thread(target=wait, args=(path, kind), name="writer")
    thread.start()
    thread.join()


# ---- rings

def cycle(path, mine, other_path, other):
    """Take one lock, wait until the other is taken too, ask for the other."""
    fd, other_fd = open_file(path), open_file(other_path)
    lock(mine, fd)
    open(path + ".taken", "w").close()
    ready()
    while not os.path.exists(other_path + ".taken"):
        time.sleep(0.01)
    lock(other, other_fd)


# ---- locks that outlive their taker

def fork_and_leave(path, kind="flock"):
    """Take the lock, start a daemon that inherits it, and exit."""
    fd = open_file(path)
    lock(kind, fd)
    keeper = os.fork()
    if not keeper:
        sleep()
    ready(keeper=keeper, taker=os.getpid())
    os._exit(0)


def fork_on_stdin(path):
    """The same, with the lock on descriptor 0."""
    os.dup2(open_file(path), 0)
    fcntl.flock(0, fcntl.LOCK_EX)
    os.closerange(3, 20)
    keeper = os.fork()
    if not keeper:
        sleep()
    ready(keeper=keeper, taker=os.getpid())
    os._exit(0)


def exec_and_leave(path):
    """Take the lock, start another program that inherits it unknowingly, and exit."""
    fd = open_file(path)
    if hasattr(os, "set_inheritable"):
        os.set_inheritable(fd, True)
    fcntl.flock(fd, fcntl.LOCK_EX)
    program = subprocess.Popen(["sleep", "1000"], close_fds=False)
    ready(keeper=program.pid, taker=os.getpid())
    os._exit(0)


def hand_over(path, then):
    """A younger process takes the lock, sends its descriptor here (SCM_RIGHTS), and ends or closes it."""
    import array

    mine, other = socket.socketpair()
    taker = os.fork()
    if not taker:
        mine.close()
        fd = open_file(path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        other.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        if then == "ends":
            os._exit(0)
        os.close(fd)
        sleep()
    other.close()
    mine.recvmsg(1, socket.CMSG_SPACE(4))
    if then == "ends":
        os.wait()
    ready(taker=taker)
    sleep()


# ---- self-deadlocks

def self_nested(path, kind="flock"):
    """update() locks the file and calls save(), which locks it again through another descriptor."""
    def save():
        fd = open_file(path)
        ready()
        lock(kind, fd)

    def update():
        fd = open_file(path)
        lock(kind, fd)
        save()

    update()


def self_recursive(path):
    """One function that calls itself with the lock held."""
    def walk(depth):
        with open(path, "a") as file:
            if not depth:
                ready()
            fcntl.flock(file, fcntl.LOCK_EX)
            walk(depth - 1)

    walk(1)


def self_two_files(path):
    """Two file objects in one function."""
    first = open(path, "a")
    second = open(path, "a")
    fcntl.flock(first, fcntl.LOCK_EX)
    ready()
    fcntl.flock(second, fcntl.LOCK_EX)


class Journal(object):
    """Writes its last line under the lock when it is collected."""

    def __init__(self, path):
        self.path = path

    def __del__(self):
        with open(self.path, "a") as file:
            ready()
            fcntl.flock(file, fcntl.LOCK_EX)


def self_del(path):
    """The last reference to an object goes while the lock is held: its __del__ wants the lock."""
    journal = Journal(path)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        del journal


def self_handler(path):
    """A signal handler asks for the lock that the interrupted code holds."""
    def on_signal(number, frame):
        with open(path, "a") as again:
            ready()
            fcntl.flock(again, fcntl.LOCK_EX)

    signal.signal(signal.SIGUSR1, on_signal)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(1)


@contextlib.contextmanager
def made(path):
    """A lock by existence, for the length of a with statement."""
    while True:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except OSError:
            time.sleep(0.05)
    yield
    os.remove(path)


def self_made(path):
    """A signal handler asks for the lock by existence that the interrupted code has made."""
    def on_signal(number, frame):
        ready()
        with made(path):
            pass

    signal.signal(signal.SIGUSR2, on_signal)
    with made(path):
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(1)


def self_made_asks_twice(path):
    """A signal handler asks for the lock that the interrupted code asks for as well: neither has it."""
    def on_signal(number, frame):
        ready()
        with made(path):
            pass

    signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with made(path):
        pass


def self_thread(path):
    """The main thread holds the lock and joins a thread that asks for it."""
    fd = open_file(path)
    fcntl.flock(fd, fcntl.LOCK_EX)
    thread = threading.Thread(target=wait, args=(path,), name="writer")
    thread.start()
    thread.join()


# ---- pollers

def poll_plain(path, pause="0.05"):
    """The loop that everybody writes by hand."""
    lock_file = open(path, "a")
    ready()
    while True:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (IOError, OSError) as error:
            if error.errno not in BUSY:
                raise
            time.sleep(float(pause))


def poll_event(path):
    """The same with Event.wait() as the pause."""
    stopped = threading.Event()
    fd = open_file(path)
    ready()
    while not stopped.is_set():
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (IOError, OSError):
            stopped.wait(0.05)


def poll_select(path):
    """The same with select() as the pause."""
    fd = open_file(path)
    ready()
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except (IOError, OSError):
            select.select([], [], [], 0.05)


def poll_exists(path):
    """A lock by existence: whoever creates the file has it."""
    ready()
    while True:
        try:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            time.sleep(0.05)
    os.write(fd, str(os.getpid()).encode())


def poll_filelock(path):
    import filelock

    ready()
    with filelock.FileLock(path):
        sleep()


def poll_soft_filelock(path):
    import filelock

    ready()
    with filelock.SoftFileLock(path):
        sleep()


def poll_portalocker(path):
    import portalocker

    ready()
    with portalocker.Lock(path, timeout=1000, check_interval=0.05):
        sleep()


def poll_fasteners(path):
    import fasteners

    ready()
    with fasteners.InterProcessLock(path):
        sleep()


def poll_zc_lockfile(path):
    import zc.lockfile

    ready()
    while True:
        try:
            zc.lockfile.LockFile(path)
            break
        except zc.lockfile.LockError:
            time.sleep(0.05)


def poll_clh(path):
    """concurrent-log-handler, whose lock file is .__NAME.lock beside the log."""
    import logging

    from concurrent_log_handler import ConcurrentRotatingFileHandler

    log = os.path.join(os.path.dirname(path), os.path.basename(path)[3:-5])
    handler = ConcurrentRotatingFileHandler(log, "a", 1 << 20, 3)
    logging.getLogger().addHandler(handler)
    ready()
    logging.getLogger().warning("hello")
    sleep()


# ---- healthy

def busy_lock(path, seconds):
    """Take the lock for a moment, again and again, with others who do the same."""
    ready()
    while True:
        with open(path, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(float(seconds))
        time.sleep(0.002)


def try_now_and_then(path):
    """A periodic job that gives up when another instance runs."""
    ready()
    while True:
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (IOError, OSError):
                pass  # another instance does the job
            else:
                file.write("done\n")
        time.sleep(0.2)


def only_open(path):
    """Have the lock file open, without any wish for the lock, and work in short steps."""
    lock_file = open(path, "a")
    ready()
    while True:
        time.sleep(0.05)
    lock_file.close()


def daemon(path):
    """Hold a pid file for life, as daemons do."""
    file = open(path, "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write("%d\n" % os.getpid())
    file.flush()
    do_epoll()


def take_turns(path):
    """Workers that take turns to accept clients, under a lock, as Apache's and uWSGI's do."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(5)
    children = [os.fork() for _ in range(2)]
    file = open(path, "w")
    if all(children):
        ready()
    while True:
        fcntl.flock(file, fcntl.LOCK_EX)
        server.accept()[0].close()
        fcntl.flock(file, fcntl.LOCK_UN)


def do_epoll():
    poll = select.epoll()
    reader, _ = os.pipe()
    poll.register(reader, select.EPOLLIN)
    ready()
    while True:
        poll.poll()


def read_sqlite(path):
    """Readers of one database, each in a transaction."""
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin")
    connection.execute("select count(*) from sqlite_master").fetchall()
    ready()
    sleep()


def replace(path):
    """Take the lock, then do what a tidy-up job does: remove the file and make it anew."""
    fd = open_file(path)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.remove(path)
    open(path, "w").close()
    ready()
    sleep()


def delete(path):
    """Take the lock and remove its file."""
    fd = open_file(path)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.remove(path)
    ready()
    sleep()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
