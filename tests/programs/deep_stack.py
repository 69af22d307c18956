"""A thread far down in a recursion: deep_stack.py idle|locked LOCK FRAMES. Python 2.7 and later."""

from __future__ import print_function

import fcntl
import sys
import threading
import time


def descend(end, frames):
    return descend(end, frames - 1) if frames else end()


def idle(_path):
    say_ready()
    time.sleep(600)


def locked(path):
    wanted = open(path, "a")
    say_ready()
    fcntl.flock(wanted, fcntl.LOCK_EX)


def say_ready():
    print("ready")
    sys.stdout.flush()


def main(role, path, frames):
    kept = open(path, "a")
    if role == "locked":
        fcntl.flock(kept, fcntl.LOCK_EX)
    descend(lambda: {"idle": idle, "locked": locked}[role](path), int(frames))


if __name__ == "__main__":
    sys.setrecursionlimit(100000)
    threading.stack_size(256 << 20)
    thread = threading.Thread(target=main, args=sys.argv[1:], name="deep")
    thread.start()
    thread.join()
