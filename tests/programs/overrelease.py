"""Spools jobs with a faulty extension while another thread makes tuples, until it dies."""
from __future__ import print_function

import sys
import threading

import jobqueue


def make_tuples():
    kept = []
    while True:
        for n in range(50):
            kept.append((n, [str(n)]))
        for number, texts in kept:
            texts.append((number, texts))
        if len(kept) > 500:
            del kept[:]


def serve():
    while True:
        jobqueue.spool({"function": "send", "args": "1", "kwargs": "2"})


if __name__ == "__main__":
    thread = threading.Thread(target=make_tuples, name="poller")
    thread.daemon = True
    thread.start()
    print("ready")
    sys.stdout.flush()
    serve()
