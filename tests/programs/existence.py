"""A lock by existence, named in several ways: existence.py global|attribute|literal hold|wait LOCK. From 2.7 on."""

import errno
import os
import sys
import time

WAY, ROLE = sys.argv[1:3]
LOCK = sys.argv[3]


class Settings(object):
    lock = LOCK


def by_global():
    while True:
        try:
            return os.open(LOCK, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            time.sleep(0.2)


def by_attribute():
    while True:
        try:
            return os.open(Settings.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            time.sleep(0.2)


def by_literal():  # relative to the working directory
    while True:
        try:
            return os.open("./literal.pid", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            time.sleep(0.2)


def say_ready():
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(os.path.dirname(LOCK))
    if ROLE == "wait":
        say_ready()
    handle = {"global": by_global, "attribute": by_attribute, "literal": by_literal}[WAY]()
    os.write(handle, str(os.getpid()).encode())
    os.close(handle)
    say_ready()
    time.sleep(600)
