"""Two jobs need the same two locks and take them in opposite order."""

import fcntl

from common import play, start, up, wait_until_locked


def locked(path):
    lock = open(path, "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def transfer(directory):
    job(f"{directory}/accounts.lock", f"{directory}/journal.lock")


def report(directory):
    job(f"{directory}/journal.lock", f"{directory}/accounts.lock")


def job(path, other_path):
    with locked(path):
        up()
        wait_until_locked(other_path)
        with locked(other_path):
            pass


def direct(directory):
    start(transfer, directory)
    start(report, directory)


if __name__ == "__main__":
    play(direct, transfer, report)
