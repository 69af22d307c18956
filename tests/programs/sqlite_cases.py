"""Processes that use one SQLite database. argv: CASE JOURNAL DATABASE. Prints "holder PID", "waiter PID", "ready"."""
from __future__ import print_function

import os
import socket
import sqlite3
import sys
import threading
import time

CASE, JOURNAL, PATH = sys.argv[1:4]


def connect():
    return sqlite3.connect(PATH, timeout=600, isolation_level=None)


def write_and(rest):
    connection = connect()
    connection.execute("begin immediate")
    connection.execute("insert into t values (1)")
    rest(connection)


def sleep(_connection=None):
    while True:
        time.sleep(1000)


def receive(_connection):
    """Waits for a message that anybody might send."""
    mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mine.bind(("127.0.0.1", 0))
    mine.recv(10)


def write():
    time.sleep(0.3)
    connect().execute("insert into t values (2)")
    sleep()


def read_on():
    """A cursor that is not read to its end keeps the database locked for reading."""
    cursor = connect().execute("select a from t")
    cursor.fetchone()
    sleep()


def short():
    """Healthy: many short transactions."""
    connection = connect()
    while True:
        connection.execute("begin immediate")
        connection.execute("insert into t values (3)")
        time.sleep(0.01)
        connection.execute("commit")


def twice():
    """A second connection of the same thread waits for the first."""
    write_and(lambda _: connect().execute("insert into t values (4)"))


def checkpoint():
    """Waits until everybody reads what is newest."""
    time.sleep(0.3)
    connect().execute("pragma wal_checkpoint(restart)").fetchall()
    sleep()


def read_old():
    """Reads a state of the database that others have gone beyond, which checkpoints must keep."""
    connection = connect()
    connection.execute("begin")
    connection.execute("select * from t").fetchall()
    time.sleep(0.2)
    writer = connect()
    for number in range(20):
        writer.execute("insert into t values (?)", (number,))
    writer.close()
    sleep()


def threads():
    """One thread of a process has the transaction open, another waits for it."""
    thread = threading.Thread(target=write_and, args=(sleep,), name="has")
    thread.daemon = True
    thread.start()
    time.sleep(0.3)
    connect().execute("insert into t values (5)")
    sleep()


def die():
    """Dies while its changes are half in the file: a small cache spills them into it."""
    connection = connect()
    connection.execute("pragma cache_size=1")
    connection.execute("begin immediate")
    connection.executemany("insert into t values (?)", [(n,) for n in range(20000)])
    os._exit(1)


def alone():
    """Commits, and keeps the database for itself all the same."""
    connection = connect()
    connection.execute("pragma locking_mode=exclusive")
    connection.execute("insert into t values (6)")
    sleep()


CASES = {
    "alone": (alone, write),
    "checkpoint": (read_old, checkpoint),
    "old": (read_old, sleep),
    "threads": (sleep, threads),
    "dies": (die, sleep),

    "sleeps": (lambda: write_and(sleep), write),
    "receives": (lambda: write_and(receive), write),
    "reads": (read_on, write),
    "short": (short, short),
    "nobody": (lambda: write_and(sleep), sleep),
}


def main():
    first = connect()
    first.execute("pragma journal_mode=%s" % JOURNAL)
    first.execute("create table t (a int)")
    first.executemany("insert into t values (?)", [(n,) for n in range(3)])
    first.close()
    if CASE == "twice":
        print("waiter", os.getpid())
        print("ready")
        sys.stdout.flush()
        twice()
    for name, work in zip(("holder", "waiter"), CASES[CASE]):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        print(name, pid)
    print("ready")
    sys.stdout.flush()
    sleep()


main()
