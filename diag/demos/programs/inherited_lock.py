"""A service takes its lock, starts a helper that inherits the descriptor, and ends.

The helper knows nothing of the lock, but as long as it has the descriptor open, the lock lives.
"""

import fcntl
import os
import time

from common import play, start, up


def lock_of_the_service(directory):
    lock = open(f"{directory}/service.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def service(directory):
    lock = lock_of_the_service(directory)
    os.set_inheritable(lock.fileno(), True)
    start(helper, directory, close_fds=False)
    up()


def helper(directory):
    up()
    while True:
        time.sleep(1)


def successor(directory):
    up()
    lock_of_the_service(directory)


def direct(directory):
    start(service, directory).wait()
    start(successor, directory)


if __name__ == "__main__":
    play(direct, service, helper, successor)
