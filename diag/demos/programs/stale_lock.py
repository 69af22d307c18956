"""A lock by existence: its owner was killed and left the file behind; the next one tries for ever."""

import os
import signal
import time

from common import play, start, up


def create(path):
    """Take the lock: whoever can create the file has it. Its text names the owner."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    os.close(descriptor)


def first(directory):
    create(f"{directory}/job.pid")
    up()
    while True:
        time.sleep(1)


def second(directory):
    up()
    try_until_created(f"{directory}/job.pid")


def try_until_created(path):
    while True:
        try:
            return create(path)
        except FileExistsError:
            time.sleep(0.1)


def direct(directory):
    owner = start(first, directory)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    start(second, directory)


if __name__ == "__main__":
    play(direct, first, second)
