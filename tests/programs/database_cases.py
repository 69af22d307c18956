"""Clients of a MySQL server in trouble. argv: CASE DRIVER ADDRESS [ARGUMENT...].

DRIVER is pymysql, MySQLdb or connector; ADDRESS a port of 127.0.0.1 or the path of a socket.

pool SIZE CLIENTS    every statement goes through a bounded executor: the COMMIT queues behind the UPDATEs
homemade SIZE CLIENTS [event]
                     the same with threads and a queue; replies by a queue, or by an event
proxy SIZE           a MySQL proxy whose statements go through a bounded executor; prints "port N"
clients COUNT        that many connections update one row and commit
sleep, flock PATH, call PORT
                     keeps the row locked while it sleeps, waits for a file lock, or calls a service
wait                 wants the row
slow SECONDS         keeps the row locked by a statement that takes its time
ring-a PATH, ring-b PATH
                     one has the file lock and wants the row, the other the row and wants the file
reader               an open SELECT in a transaction, then nothing
ddl                  ALTER TABLE
select               SELECT on the same table
busy                 transactions as they should be, on one row, for ever
xa                   a prepared XA transaction, and then the connection is gone
"""
from __future__ import print_function

import fcntl
import importlib
import socket
import struct
import sys
import threading
import time

UPDATE = "update user set balance = balance - 5 where id = 1"


def connect(driver, address):
    """Log in without autocommit."""
    where = {"unix_socket": address} if "/" in address else {"host": "127.0.0.1", "port": int(address)}
    if driver == "connector":
        import mysql.connector

        return mysql.connector.connect(user="app", password="apppw", database="shop", **where)
    module = importlib.import_module(driver)
    if driver == "MySQLdb":
        return module.connect(user="app", passwd="apppw", db="shop", **where)
    return module.connect(user="app", password="apppw", database="shop", **where)


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


def locked_row(driver, address):
    connection = connect(driver, address)
    execute(connection, UPDATE)
    return connection


# --- the saturated pool -----------------------------------------------------------------------------


def pool(driver, address, size, clients):
    from concurrent.futures import ThreadPoolExecutor

    workers = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    barrier = threading.Barrier(int(clients))

    def request():
        connection = connect(driver, address)
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


def homemade(driver, address, size, clients, reply="queue"):
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
        connection = connect(driver, address)
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


def clients(driver, address, count):
    barrier = threading.Barrier(int(count))

    def request():
        connection = connect(driver, address)
        barrier.wait()
        execute(connection, UPDATE)
        connection.commit()

    threads = [threading.Thread(target=request, name="client-%d" % n) for n in range(int(count))]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()
    forever()


def read_packet(connection):
    data = b""
    while len(data) < 4:
        piece = connection.recv(4 - len(data))
        if not piece:
            raise EOFError
        data += piece
    (length,) = struct.unpack("<I", data[:3] + b"\0")
    while len(data) < 4 + length:
        piece = connection.recv(4 + length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def proxy(driver, address, size):
    """Like Cobar: whole packets are read in front, and executed by a bounded pool."""
    del driver
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print("port %d" % listener.getsockname()[1])

    def run(front, back, packet):
        back.sendall(packet)
        front.sendall(read_packet(back))

    def handle(front):
        back = socket.create_connection(("127.0.0.1", int(address)))
        front.sendall(read_packet(back))
        back.sendall(read_packet(front))
        while True:  # the server's part of the handshake, until OK
            answer = read_packet(back)
            front.sendall(answer)
            if answer[4:5] == b"\0":
                break
            back.sendall(read_packet(front))
        while True:
            executor.submit(run, front, back, read_packet(front))

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


# --- transactions that stay open --------------------------------------------------------------------


def sleep(driver, address):
    connection = locked_row(driver, address)
    ready()
    forever()
    connection.commit()


def flock(driver, address, path):
    connection = locked_row(driver, address)
    ready()
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    connection.commit()


def call(driver, address, port):
    from urllib.request import urlopen

    connection = locked_row(driver, address)
    ready()
    urlopen("http://127.0.0.1:%s/pay" % port).read()
    connection.commit()


def wait(driver, address):
    connection = connect(driver, address)
    ready()
    execute(connection, UPDATE)
    connection.commit()
    forever()


def slow(driver, address, seconds):
    connection = connect(driver, address)
    ready()
    execute(connection, "update user set balance = balance - 5 + 0 * sleep(%s) where id = 1" % seconds)
    forever()


def ring_a(driver, address, path):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        connection = connect(driver, address)
        ready()
        time.sleep(1)
        execute(connection, UPDATE)
        connection.commit()


def ring_b(driver, address, path):
    flock(driver, address, path)


def reader(driver, address):
    connection = connect(driver, address)
    execute(connection, "select balance from user where id = 2").fetchall()
    ready()
    forever()


def ddl(driver, address):
    connection = connect(driver, address)
    ready()
    execute(connection, "alter table user add column if not exists note varchar(20)")
    forever()


def select(driver, address):
    connection = connect(driver, address)
    ready()
    execute(connection, "select balance from user where id = 1")
    forever()


def busy(driver, address):
    def work():
        connection = connect(driver, address)
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


def xa(driver, address):
    connection = connect(driver, address)
    execute(connection, "xa start 'left behind'")
    execute(connection, UPDATE)
    execute(connection, "xa end 'left behind'")
    execute(connection, "xa prepare 'left behind'")
    connection.close()
    ready()
    forever()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
