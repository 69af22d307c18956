"""Clients of a PostgreSQL server in trouble. argv: CASE DRIVER HOST PORT [ARGUMENT...].

DRIVER is psycopg or psycopg2; HOST an address or the directory of the server's socket.

pool SIZE CLIENTS  every statement goes through a bounded executor: the COMMIT queues behind the UPDATEs
homemade SIZE CLIENTS [event]
                   the same with threads and a queue; replies by a queue, or by an event
proxy SIZE         a proxy whose messages go through a bounded executor; prints "port N"
clients COUNT      that many connections update one row and commit
call PORT          keeps the row locked while it calls a service
lock-table         LOCK TABLE in ACCESS EXCLUSIVE mode
sleep, flock PATH  keeps the row locked while it sleeps, or waits for a file lock
wait               wants the row
ring-a PATH        has the file lock and wants the row; flock PATH is the other half of the ring
slow SECONDS       keeps the row locked by a statement that takes its time
reader             an open SELECT in a transaction, then nothing
ddl, select        ALTER TABLE, and a SELECT on the same table
advisory           has an advisory lock outside any transaction
advise             wants it
prepared           leaves a prepared transaction behind
busy               transactions as they should be, on one row, for ever
"""
from __future__ import print_function

import fcntl
import importlib
import os
import socket
import struct
import sys
import threading
import time

UPDATE = "update account set balance = balance - 5 where id = 1"


def connect(driver, host, port):
    module = importlib.import_module(driver)
    return module.connect(host=host, port=int(port), user="app", password="apppw", dbname="shop")


def ready():
    print("ready")
    sys.stdout.flush()


def forever():
    while True:
        time.sleep(600)


def execute(connection, statement):
    cursor = connection.cursor()
    cursor.execute(statement)
    return cursor


def locked_row(*address):
    connection = connect(*address)
    execute(connection, UPDATE)
    return connection


def pool(driver, host, port, size, clients):
    from concurrent.futures import ThreadPoolExecutor

    workers = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    barrier = threading.Barrier(int(clients))

    def request():
        connection = connect(driver, host, port)
        barrier.wait()
        workers.submit(execute, connection, UPDATE).result()
        workers.submit(connection.commit).result()

    threads = [threading.Thread(target=request, name="request-%d" % n) for n in range(int(clients))]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()
    forever()


def homemade(driver, host, port, size, clients, reply="queue"):
    """Workers that take jobs from a queue, as programs had them before there were executors."""
    try:
        from queue import Queue
    except ImportError:
        from Queue import Queue

    jobs = Queue()
    left = [int(clients)]
    connected = threading.Event()
    guard = threading.Lock()

    def worker():
        while True:
            function, arguments, answer = jobs.get()
            function(*arguments)
            answer.put(True) if reply == "queue" else answer.set()

    def run(function, *arguments):
        answer = Queue() if reply == "queue" else threading.Event()
        jobs.put((function, arguments, answer))
        answer.get() if reply == "queue" else answer.wait()

    def request():
        connection = connect(driver, host, port)
        with guard:
            left[0] -= 1
            if not left[0]:
                connected.set()
        connected.wait()
        run(execute, connection, UPDATE)
        run(connection.commit)

    threads = [threading.Thread(target=worker, name="worker-%d" % n) for n in range(int(size))]
    threads += [threading.Thread(target=request, name="request-%d" % n) for n in range(int(clients))]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()


def clients(driver, host, port, count):
    barrier = threading.Barrier(int(count))

    def request():
        connection = connect(driver, host, port)
        barrier.wait()
        execute(connection, UPDATE)
        connection.commit()

    threads = [threading.Thread(target=request, name="client-%d" % n) for n in range(int(count))]
    for thread in threads:
        thread.start()
    ready()
    forever()


def proxy(driver, host, port, size):
    """Whole messages are read in front, and executed by a bounded pool; answers end with ReadyForQuery."""
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print("port %d" % listener.getsockname()[1])

    def run(front, back, message):
        back.sendall(message)
        answer(front, back)

    def answer(front, back, until=b"Z"):
        while True:
            message = read_message(back)
            front.sendall(message)
            if message[:1] == until or message[:1] == b"R" and message[5:9] not in (b"\0\0\0\0", b"\0\0\0\x0c"):
                return message

    def handle(front):
        start = read_message(front, b"")
        if start[4:8] in (b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30"):  # SSLRequest, GSSENCRequest
            front.sendall(b"N")
            return handle(front)
        back = socket.create_connection((host, int(port)))
        back.sendall(start)
        while answer(front, back)[:1] != b"Z":  # the server's part of the login
            back.sendall(read_message(front))
        while True:
            executor.submit(run, front, back, whole(front))

    def whole(front):
        """A simple query, or the parts of an extended one up to Sync."""
        data = b""
        while True:
            message = read_message(front)
            data += message
            if message[:1] in b"QSX":
                return data

    def serve(front):
        try:
            handle(front)
        except (EOFError, OSError):
            front.close()

    ready()
    while True:
        front, _ = listener.accept()
        thread = threading.Thread(target=serve, args=(front,), name="Handler")
        thread.daemon = True
        thread.start()


def read_message(connection, kind=None):
    """One message of the protocol: a byte for its kind (but in the first one), a length, the rest."""
    head = exactly(connection, 5 if kind is None else 4)
    (length,) = struct.unpack(">I", head[-4:])
    return head + exactly(connection, length - 4)


def exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def call(driver, host, port, service):
    from urllib.request import urlopen

    connection = locked_row(driver, host, port)
    ready()
    urlopen("http://127.0.0.1:%s/pay" % service).read()
    connection.commit()


def lock_table(*address):
    run(address, "lock table account in access exclusive mode")


def sleep(*address):
    connection = locked_row(*address)
    ready()
    forever()
    connection.commit()


def flock(driver, host, port, path):
    connection = locked_row(driver, host, port)
    open(path + ".go", "w").close()
    ready()
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    connection.commit()


def ring_a(driver, host, port, path):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        connection = connect(driver, host, port)
        ready()
        while not os.path.exists(path + ".go"):
            time.sleep(0.05)
        execute(connection, UPDATE)
        connection.commit()


def run(address, statement):
    connection = connect(*address)
    ready()
    execute(connection, statement)
    connection.commit()
    forever()


def wait(*address):
    run(address, UPDATE)


def slow(driver, host, port, seconds):
    run((driver, host, port), "with w as (%s returning 1) select pg_sleep(%s) from w" % (UPDATE, seconds))


def reader(*address):
    connection = connect(*address)
    execute(connection, "select balance from account where id = 2").fetchall()
    ready()
    forever()


def ddl(*address):
    run(address, "alter table account add column if not exists note varchar(20)")


def select(*address):
    run(address, "select balance from account where id = 1")


def advisory(*address):
    connection = connect(*address)
    connection.autocommit = True
    execute(connection, "select pg_advisory_lock(4711)")
    ready()
    forever()


def advise(*address):
    run(address, "select pg_advisory_lock(4711)")


def prepared(*address):
    connection = locked_row(*address)
    execute(connection, "prepare transaction 'left behind'")
    connection.close()
    ready()
    forever()


def busy(*address):
    def work():
        connection = connect(*address)
        while True:
            execute(connection, UPDATE)
            time.sleep(0.002)
            connection.commit()

    for number in range(3):
        thread = threading.Thread(target=work, name="busy-%d" % number)
        thread.daemon = True
        thread.start()
    ready()
    forever()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
