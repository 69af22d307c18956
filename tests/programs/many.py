"""A process with many threads, or a deep stack. argv: threads COUNT | frames COUNT."""
from __future__ import print_function

import sys
import threading
import time


def ready():
    print("ready")
    sys.stdout.flush()


def even(left):
    if left:
        odd(left - 1)
    ready()
    time.sleep(1000)


def odd(left):
    even(left - 1)


def threads(count):
    for _ in range(count):
        thread = threading.Thread(target=time.sleep, args=(1000,))
        thread.daemon = True
        thread.start()
    ready()
    time.sleep(1000)


if sys.argv[1] == "frames":
    sys.setrecursionlimit(10000)
    even(int(sys.argv[2]))
threads(int(sys.argv[2]))
