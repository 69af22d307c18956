"""Clients of a MySQL server in trouble. argv: CASE DRIVER ADDRESS [ARGUMENT...].

DRIVER is pymysql, MySQLdb or connector; ADDRESS a port of 127.0.0.1 or the path of a socket. CASE is one of
sql_cases.py, or:

proxy SIZE           a MySQL proxy whose statements go through a bounded executor; prints "port N"
processes            a pool of processes wants the row of the one that waits for it
slow SECONDS         keeps the row locked by a statement that takes its time
named, wants_named   has a lock by GET_LOCK, and sleeps; waits for it
wants_unnamed        waits for it by a name that its statement does not show
xa                   a prepared XA transaction, and then the connection is gone
"""
from __future__ import print_function

import importlib
import socket
import struct
import sys

import sql_cases


class MySQL(sql_cases.Server):
    def __init__(self, driver, address):
        super(MySQL, self).__init__(lambda: connect(driver, address), "user")
        self.address = address


def connect(driver, address):
    where = {"unix_socket": address} if "/" in address else {"host": "127.0.0.1", "port": int(address)}
    if driver == "connector":
        import mysql.connector

        return mysql.connector.connect(user="app", password="apppw", database="shop", **where)
    module = importlib.import_module(driver)
    if driver == "MySQLdb":
        return module.connect(user="app", passwd="apppw", db="shop", **where)
    return module.connect(user="app", password="apppw", database="shop", **where)


def proxy(server, size):
    """Like Cobar: whole packets are read in front, and executed by a bounded pool."""

    def run(front, back, packet):
        back.sendall(packet)
        front.sendall(read_packet(back))

    def handle(front, executor):
        back = socket.create_connection(("127.0.0.1", int(server.address)))
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

    sql_cases.proxy(handle, size)


def read_packet(connection):
    head = sql_cases.exactly(connection, 4)
    (length,) = struct.unpack("<I", head[:3] + b"\0")
    return head + sql_cases.exactly(connection, length)


def processes(server):
    """A pool of processes whose statements wait for the row of the one that waits for their results."""
    import multiprocessing

    connection = server.locked_row()
    with multiprocessing.Pool(3) as pool:
        sql_cases.ready()
        pool.map(update, [server.address] * 3)
        connection.commit()


def update(address):
    sql_cases.execute(connect("pymysql", address), "update user set balance = balance - 5 where id = 1")


def slow(server, seconds):
    server.run("update user set balance = balance - 5 + 0 * sleep(%s) where id = 1" % seconds)


def named(server):
    connection = server.connect()
    sql_cases.execute(connection, "select get_lock('Nightly.Report', 1)")
    connection.commit()
    sql_cases.ready()
    sql_cases.forever()


def wants_named(server):
    server.run('select GET_LOCK( "Nightly.Report" , 600)')


def wants_unnamed(server):
    connection = server.connect()
    sql_cases.execute(connection, "set @name = 'Nightly.Report'")
    sql_cases.ready()
    sql_cases.execute(connection, "select get_lock(@name, 600)")


def xa(server):
    connection = server.connect()
    sql_cases.execute(connection, "xa start 'left behind'")
    sql_cases.execute(connection, server.update)
    sql_cases.execute(connection, "xa end 'left behind'")
    sql_cases.execute(connection, "xa prepare 'left behind'")
    connection.close()
    sql_cases.ready()
    sql_cases.forever()


if __name__ == "__main__":
    sql_cases.main(MySQL(*sys.argv[2:4]), globals(), sys.argv[1], sys.argv[4:])
