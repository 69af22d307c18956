"""Clients of a PostgreSQL server in trouble. argv: CASE DRIVER HOST PORT [ARGUMENT...].

DRIVER is psycopg or psycopg2; HOST an address or the directory of the server's socket. CASE is one of sql_cases.py, or:

proxy SIZE         a proxy whose messages go through a bounded executor; prints "port N"
lock-table         LOCK TABLE in ACCESS EXCLUSIVE mode
slow SECONDS       keeps the row locked by a statement that takes its time
advisory           has an advisory lock outside any transaction
advise             wants it
prepared           leaves a prepared transaction behind
"""
from __future__ import print_function

import importlib
import socket
import struct
import sys

import sql_cases


class PostgreSQL(sql_cases.Server):
    def __init__(self, driver, host, port):
        super(PostgreSQL, self).__init__(lambda: connect(driver, host, port), "account")
        self.address = (host, int(port))


def connect(driver, host, port):
    module = importlib.import_module(driver)
    return module.connect(host=host, port=int(port), user="app", password="apppw", dbname="shop")


def proxy(server, size):
    """Whole messages are read in front, and executed by a bounded pool; answers end with ReadyForQuery."""

    def run(front, back, message):
        back.sendall(message)
        answer(front, back)

    def answer(front, back, until=b"Z"):
        while True:
            message = read_message(back)
            front.sendall(message)
            if message[:1] == until or message[:1] == b"R" and message[5:9] not in (b"\0\0\0\0", b"\0\0\0\x0c"):
                return message

    def handle(front, executor):
        start = read_message(front, b"")
        if start[4:8] in (b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30"):  # SSLRequest, GSSENCRequest
            front.sendall(b"N")
            return handle(front, executor)
        back = socket.create_connection(server.address)
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

    sql_cases.proxy(handle, size)


def read_message(connection, kind=None):
    """One message of the protocol: a byte for its kind (but in the first one), a length, the rest."""
    head = sql_cases.exactly(connection, 5 if kind is None else 4)
    (length,) = struct.unpack(">I", head[-4:])
    return head + sql_cases.exactly(connection, length - 4)


def lock_table(server):
    server.run("lock table account in access exclusive mode")


def slow(server, seconds):
    server.run("with w as (%s returning 1) select pg_sleep(%s) from w" % (server.update, seconds))


def advisory(server):
    connection = server.connect()
    connection.autocommit = True
    sql_cases.execute(connection, "select pg_advisory_lock(4711)")
    sql_cases.ready()
    sql_cases.forever()


def advise(server):
    server.run("select pg_advisory_lock(4711)")


def prepared(server):
    connection = server.locked_row()
    sql_cases.execute(connection, "prepare transaction 'left behind'")
    connection.close()
    sql_cases.ready()
    sql_cases.forever()


if __name__ == "__main__":
    sql_cases.main(PostgreSQL(*sys.argv[2:5]), globals(), sys.argv[1], sys.argv[5:])
