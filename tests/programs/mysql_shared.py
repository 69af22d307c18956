"""One MySQLdb cursor shared by several threads. argv: MODE PORT.

service   workers that die in the client library, one task each, until the service is stopped
worker    one such worker: task after task in one process, until it dies
alive     the same sharing, with queries slow enough to be looked at
own       healthy: a connection per thread
pool      healthy: one connection, lent to one thread at a time
"""
from __future__ import print_function

import os
import signal
import sys
import threading
import time

import MySQLdb

THREADS = 4
CROWD = 16
SLOW = "select sleep(600)"
ALARMS = "select help_topic_id, name, url from help_topic limit 40"


def connect(port):
    return MySQLdb.connect(
        host="127.0.0.1", port=int(port), user="root", passwd="", db="mysql", charset="utf8"
    )


def ready():
    print("ready")
    sys.stdout.flush()


def run_threads(count, target, *args):
    threads = [
        threading.Thread(target=target, args=args, name="alarm-%d" % number)
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    return threads


def update_status_thread(conn, cursor, semaphore):
    """One batch of the task. The thread that is done first closes what all of them use."""
    semaphore.acquire()
    try:
        for _ in range(20):
            cursor.execute(ALARMS)
            cursor.fetchall()
    except Exception as error:
        print("%s" % error, file=sys.stderr)
    finally:
        semaphore.release()
        conn.close()


def task(port):
    """Four threads hardly ever die on a single processor; of these runs every second one does."""
    conn = connect(port)
    semaphore = threading.BoundedSemaphore(CROWD)
    end = time.time() + 1  # sharing also hangs now and then: such threads are left behind
    for thread in run_threads(CROWD, update_status_thread, conn, conn.cursor(), semaphore):
        thread.join(max(0, end - time.time()))


def worker(port):
    while True:
        task(port)


def service(port):
    """Fork a worker per task and say in celery's words how it ended."""
    ready()
    number = 0
    while True:
        number += 1
        pid = os.fork()
        if not pid:
            signal.alarm(1)  # sharing also hangs now and then
            task(port)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if os.WTERMSIG(status) == signal.SIGSEGV:
            now = time.strftime("%Y-%m-%d %H:%M:%S,000")
            print(
                "[%s: ERROR/MainProcess] Process 'Worker-%d' pid:%d exited with "
                "'signal 11 (SIGSEGV)'" % (now, number, pid),
                file=sys.stderr,
            )
            # The kernel writes at most ten such lines in 5 s.
            time.sleep(0.5)


def query(cursor):
    cursor.execute(SLOW)
    cursor.fetchall()


def alive(port):
    cursor = connect(port).cursor()
    threads = run_threads(THREADS, query, cursor)
    ready()
    for thread in threads:
        thread.join()


def query_on_own_connection(port):
    query(connect(port).cursor())


def own(port):
    threads = run_threads(THREADS, query_on_own_connection, port)
    ready()
    for thread in threads:
        thread.join()


def query_on_loan(lock, conn):
    with lock:
        query(conn.cursor())


def pool(port):
    threads = run_threads(THREADS, query_on_loan, threading.Lock(), connect(port))
    ready()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    {"service": service, "worker": worker, "alive": alive, "own": own, "pool": pool}[sys.argv[1]](sys.argv[2])
