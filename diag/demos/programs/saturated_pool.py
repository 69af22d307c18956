"""A service executes all statements in a small pool, and its COMMITs queue behind its UPDATEs.

The first transaction has the row; every worker waits for that row; the COMMIT that would free it waits
for a worker. The database sees no deadlock: the transaction that has the lock is idle.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import servers
from common import play, start, up

WORKERS = 4
REQUESTS = 12


def service(directory):
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="executor")
    all_connected = threading.Barrier(REQUESTS)

    def execute(connection, statement):
        connection.cursor().execute(statement)

    def pay():
        connection = servers.connect(directory)
        all_connected.wait()
        pool.submit(execute, connection, "update account set balance = balance - 5 where id = 1").result()
        pool.submit(connection.commit).result()

    threads = [threading.Thread(target=pay, name=f"request-{number}") for number in range(REQUESTS)]
    for thread in threads:
        thread.start()
    up()
    for thread in threads:
        thread.join()


def direct(directory):
    server = servers.start_server(directory)
    with open(f"{directory}/cast", "a") as cast:
        cast.write(f"server {server.pid}\n")
    start(service, directory)
    looker = servers.connect(directory)
    while servers.waiting(looker) < WORKERS:
        time.sleep(0.2)  # InnoDB answers from its cache if it is asked more often than every 0.1 s
    looker.close()
    time.sleep(1)  # silence of the one that has the row
    with open(f"{directory}/question.part", "w") as question:
        question.write(f"db\n{servers.dsn(directory)}\n")
    os.rename(f"{directory}/question.part", f"{directory}/question")
    return lambda: servers.stop(server)


if __name__ == "__main__":
    play(direct, service)
