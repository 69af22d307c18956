"""A green thread that blocks the eventlet hub, and one that does not. argv: CASE."""

import sys
import time

import eventlet


def blocks():
    print("ready")
    sys.stdout.flush()
    time.sleep(1000)  # not patched: nothing else of the hub runs meanwhile


def waits():
    print("ready")
    sys.stdout.flush()
    eventlet.sleep(1000)


eventlet.spawn(eventlet.sleep, 0.05)
eventlet.spawn(globals()[sys.argv[1]]).wait()
