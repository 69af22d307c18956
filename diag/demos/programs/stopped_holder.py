"""A job is stopped (SIGSTOP) while it holds a lock, and another job waits."""

import fcntl
import os
import signal

from common import play, start, up


def backup(directory):
    with open(f"{directory}/backup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        up()
        os.kill(os.getpid(), signal.SIGSTOP)


def restore(directory):
    with open(f"{directory}/backup.lock", "w") as lock:
        up()
        fcntl.flock(lock, fcntl.LOCK_EX)


def direct(directory):
    holder = start(backup, directory)
    os.waitpid(holder.pid, os.WUNTRACED)  # returns when it has stopped
    start(restore, directory)


if __name__ == "__main__":
    play(direct, backup, restore)
