"""Threads and one database connection. argv: MODE DRIVER HOST PORT.

DRIVER is pymysql, connector (pure Python), connector-c, psycopg or psycopg2.

connection  one connection, a cursor of its own in each thread
cursor      one cursor in all threads
own         healthy: a connection a thread
loan        healthy: one connection, lent under a lock to one thread at a time
"""
from __future__ import print_function

import sys
import threading
import time

THREADS = 3


def connect(driver, host, port):
    where = {"host": host, "port": int(port), "user": "app", "password": "apppw"}
    if driver.startswith("connector"):
        import mysql.connector

        return mysql.connector.connect(database="shop", use_pure=driver == "connector", **where)
    if driver.startswith("psycopg"):
        return __import__(driver).connect(dbname="shop", **where)
    return __import__(driver).connect(database="shop", **where)


def query(cursor):
    cursor.execute("select pg_sleep(600)" if "psycopg" in type(cursor).__module__ else "select sleep(600)")
    cursor.fetchall()


def query_on(connection):
    query(connection.cursor())


def again(target, *given):
    """Try for ever, as services do: some clients see that what they read is not their own answer."""
    while True:
        try:
            target(*given)
        except Exception as error:
            print("%s" % error, file=sys.stderr)
            time.sleep(0.01)


def query_alone(lock, connection):
    with lock:
        query_on(connection)


def main(mode, *address):
    def own():
        query_on(connect(*address))

    if mode == "own":
        target, given = own, ()
    elif mode == "loan":
        target, given = query_alone, (threading.Lock(), connect(*address))
    elif mode == "cursor":
        target, given = query, (connect(*address).cursor(),)
    else:
        target, given = query_on, (connect(*address),)
    threads = [
        threading.Thread(target=again, args=(target,) + given, name="alarm-%d" % number) for number in range(THREADS)
    ]
    print("ready")  # now: a thread may keep the GIL while it waits (Connector/Python's mysql_ping)
    sys.stdout.flush()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
