"""What clients of any SQL server do when they are in trouble: the cases of mysql_cases.py and postgres_cases.py alike.

A case is a function of a Server and of the words behind its name on the command line.

pool SIZE CLIENTS    every statement goes through a bounded executor: the COMMIT queues behind the UPDATEs
homemade SIZE CLIENTS [queue|event] [beside]
                     the same with threads and a queue; replies by a queue, or by an event;
                     beside: with threads that have nothing to do with it
loop SIZE CLIENTS    the same with tasks of asyncio whose statements an executor runs
free, outside, apart, next
                     what looks like a full pool and is none: one worker is free; the transaction is that of a
                     thread outside, which sleeps; COMMIT has a pool of its own, whose worker sleeps;
                     the thread outside commits soon, again and again
clients COUNT        that many connections update one row and commit
sleep, flock PATH, call PORT
                     keeps the row locked while it sleeps, waits for a file lock, or calls a service
wait                 wants the row
ring PATH            has the file lock and wants the row; flock PATH is the other half of the ring
reader               an open SELECT in a transaction, then nothing
ddl, select          ALTER TABLE, and a SELECT on the same table
busy [COUNT]         transactions as they should be, on one row, for ever
"""
from __future__ import print_function

import fcntl
import os
import socket
import sys
import threading
import time


class Server(object):
    """How to log in without autocommit, and the table whose first row everybody wants."""

    def __init__(self, connect, table):
        self.connect = connect
        self.table = table
        self.update = "update %s set balance = balance - 5 where id = 1" % table

    def locked_row(self):
        connection = self.connect()
        execute(connection, self.update)
        return connection

    def run(self, statement):
        """Wait for what a statement wants, and keep nothing."""
        connection = self.connect()
        ready()
        execute(connection, statement)
        connection.commit()
        forever()


def main(server, own, case, arguments):
    """Run a case: one of the program's own (its globals), or one of these."""
    name = case.replace("-", "_")
    (own.get(name) or globals()[name])(server, *arguments)


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


# --- the saturated pool -----------------------------------------------------------------------------


def pool(server, size, clients):
    from concurrent.futures import ThreadPoolExecutor

    workers = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    barrier = threading.Barrier(int(clients))

    def request():
        connection = server.connect()
        barrier.wait()
        workers.submit(execute, connection, server.update).result()
        workers.submit(connection.commit).result()

    together(request, "request", clients)


def homemade(server, size, clients, reply="queue", beside=""):
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
        connection = server.connect()
        with guard:
            left[0] -= 1
            if not left[0]:
                connected.set()
        connected.wait()
        run(execute, connection, server.update)
        run(connection.commit)

    threads = [threading.Thread(target=worker, name="worker-%d" % n) for n in range(int(size))]
    for thread in threads:
        thread.start()
    if beside:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        for target, arguments, name in ((time.sleep, (600,), "metrics"), (listening.accept, (), "status")):
            threading.Thread(target=target, args=arguments, name=name).start()
    together(request, "request", clients)


def loop(server, size, clients):
    import sql_loop  # for Python 3 alone

    sql_loop.run(server, int(size), int(clients), execute, ready)


def free(server):
    _behind_a_thread(server, workers=4, jobs=3, rest=forever)


def outside(server):
    _behind_a_thread(server, workers=3, jobs=8, rest=forever)


def next(server):
    _behind_a_thread(server, workers=3, jobs=8, rest=lambda: time.sleep(0.25))


def _behind_a_thread(server, workers, jobs, rest):
    """A pool whose statements wait for the row of a thread that needs no pool to commit."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="Executor")
    for _ in [pool.submit(time.sleep, 0.2) for _ in range(workers)]:  # all of its threads are there
        _.result()

    def audit():
        connection = server.connect()
        while True:
            execute(connection, server.update)
            rest()
            connection.commit()

    def request():
        connection = server.connect()
        while True:
            pool.submit(execute, connection, server.update).result()
            connection.commit()

    threading.Thread(target=audit, name="audit").start()
    time.sleep(1)
    together(request, "request", jobs)


def apart(server):
    """The statements of all go through one pool of threads and a queue, COMMIT through another."""
    from queue import Queue

    jobs, ends = Queue(), Queue()

    def worker(queue):
        while True:
            function, arguments, answer = queue.get()
            function(*arguments)
            answer.put(True)

    def run(queue, function, *arguments):
        answer = Queue()
        queue.put((function, arguments, answer))
        answer.get()

    def request():
        connection = server.connect()
        run(jobs, execute, connection, server.update)
        run(ends, connection.commit)

    for name, queue in (("worker-1", jobs), ("worker-2", jobs), ("worker-3", jobs), ("commit", ends)):
        threading.Thread(target=worker, args=(queue,), name=name).start()
    ends.put((time.sleep, (600,), Queue()))
    together(request, "request", 10)


def clients(server, count):
    barrier = threading.Barrier(int(count))

    def request():
        connection = server.connect()
        barrier.wait()
        execute(connection, server.update)
        connection.commit()

    together(request, "client", count)
    forever()


def together(request, name, count):
    """Run so many threads to their end."""
    threads = [threading.Thread(target=request, name="%s-%d" % (name, n)) for n in range(int(count))]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()


def proxy(handle, size):
    """Serve clients by ``handle(front, executor)``, whose executor is bounded."""
    from concurrent.futures import ThreadPoolExecutor

    executor = ThreadPoolExecutor(max_workers=int(size), thread_name_prefix="Executor")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print("port %d" % listener.getsockname()[1])

    def serve(front):
        try:
            handle(front, executor)
        except (EOFError, OSError):
            front.close()

    ready()
    while True:
        front, _ = listener.accept()
        thread = threading.Thread(target=serve, args=(front,), name="Handler")
        thread.daemon = True
        thread.start()


def exactly(connection, count):
    """Receive so many bytes."""
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


# --- transactions that stay open --------------------------------------------------------------------


def sleep(server):
    connection = server.locked_row()
    ready()
    forever()
    connection.commit()


def flock(server, path):
    connection = server.locked_row()
    open(path + ".go", "w").close()
    ready()
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    connection.commit()


def call(server, port):
    from urllib.request import urlopen

    connection = server.locked_row()
    ready()
    urlopen("http://127.0.0.1:%s/pay" % port).read()
    connection.commit()


def wait(server):
    server.run(server.update)


def ring(server, path):
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        connection = server.connect()
        ready()
        while not os.path.exists(path + ".go"):
            time.sleep(0.05)
        execute(connection, server.update)
        connection.commit()


def reader(server):
    connection = server.connect()
    execute(connection, "select balance from %s where id = 2" % server.table).fetchall()
    ready()
    forever()


def ddl(server):
    server.run("alter table %s add column if not exists note varchar(20)" % server.table)


def select(server):
    server.run("select balance from %s where id = 1" % server.table)


def busy(server, count=3):
    def work():
        connection = server.connect()
        while True:
            execute(connection, server.update)
            time.sleep(0.002)
            connection.commit()

    for number in range(int(count)):
        thread = threading.Thread(target=work, name="busy-%d" % number)
        thread.daemon = True
        thread.start()
    ready()
    forever()
