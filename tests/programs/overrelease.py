"""Works with a faulty extension while another thread makes objects of the same kind, until it dies.

Without an argument it spools jobs, and the objects are tuples; else it hands over objects of the kind named.
"""
from __future__ import print_function

import sys
import threading

import jobqueue


class Order(object):
    def __init__(self, n):
        self.number, self.lines = n, [n]


KINDS = {
    "tuple": lambda n: n,
    "list": lambda n: [n, str(n)],
    "dict": lambda n: {"n": n, "lines": [n]},
    "set": lambda n: {n, n + 1},
    "text": lambda n: "order-%d-%d" % (n, n * 7),
    "function": lambda n: lambda: n,
    "object": Order,
}
make = KINDS[(sys.argv[1:] or ["tuple"])[0]]


def make_objects():
    kept = []
    while True:
        for n in range(50):
            kept.append((make(n), [str(n)]))
        for number, texts in kept:
            texts.append((number, texts))
        if len(kept) > 500:
            del kept[:]


def serve():
    while True:
        if len(sys.argv) > 1:
            lent = [make(1), make(2)]
            jobqueue.drop(lent[0])
        else:
            jobqueue.spool({"function": "send", "args": "1", "kwargs": "2"})


if __name__ == "__main__":
    thread = threading.Thread(target=make_objects, name="poller")
    thread.daemon = True
    thread.start()
    print("ready")
    sys.stdout.flush()
    serve()
