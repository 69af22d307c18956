"""Pools with work queued behind work that waits for it, futures, files, an import that never ends.

Prints ``NAME ADDRESS``, pids, line numbers. Argument: a directory of its own.
"""

import io
import multiprocessing
import os
import sys
import threading
import time

try:
    from concurrent import futures
except ImportError:
    futures = None

directory = sys.argv[1]
things = {}
numbers = {}


def forever(*_):
    time.sleep(600)


started, gate = [], threading.Event()


def waits_for(pool):
    started.append(1)
    gate.wait()
    inner = pool.submit(forever)
    things.setdefault("inner", inner)
    inner.result()


class Slotted(object):
    __slots__ = ("path", "depth")

    def __init__(self):
        self.path = os.path.join(directory, "slotted.lock")
        self.depth = 7


class Context(object):
    def __init__(self):
        self.lock_file = os.path.join(directory, "inner.lock")
        self.timeout = -1.5
        self.flags = (1, True, None, "a", [b"raw"])
        self.me = self


class FileLock(object):
    def __init__(self):
        self._context = Context()
        self._stream = io.open(os.path.join(directory, "held.lock"), "w")
        self.counter = 2 ** 40
        self.password = "correct horse battery"
        self.options = {"db_password": "correct horse battery", "host": "db"}
        self.u = u"\u20ac\U0001f600"
        self.latin = u"caf\xe9"


class OldStyle:
    def __init__(self):
        self.path = os.path.join(directory, "old.lock")


things["slotted"] = Slotted()
things["lock"] = FileLock()
things["old_style"] = OldStyle()
things["raw"] = io.open(os.path.join(directory, "raw"), "wb", buffering=0)
things["reader"] = io.open(os.path.join(directory, "raw"), "rb")
things["closed"] = io.open(os.path.join(directory, "closed"), "w")
things["closed"].close()
things["builtin"] = open(os.path.join(directory, "builtin"), "w")
for name in ("raw", "reader", "builtin"):
    numbers["fd_" + name] = things[name].fileno()
things["big"] = dict(("key-%d" % number, number) for number in range(5000))
things["emptied"] = set(range(100))
for number in range(99):
    things["emptied"].discard(number)
loop = []
loop.append(loop)
things["loop"] = loop

things["mp_queue"] = multiprocessing.Queue(4)
numbers["fd_mp_queue"] = things["mp_queue"]._reader.fileno()
things["mp_queue"].put("item")
things["mp_pool"] = multiprocessing.Pool(2)
things["mp_pool"].apply_async(time.sleep, (600,))
if futures:
    things["threads"] = futures.ThreadPoolExecutor(2)
    for _ in range(2):
        things["threads"].submit(waits_for, things["threads"])
    while len(started) < 2:
        time.sleep(0.01)
    gate.set()
    things["queued"] = things["threads"].submit(forever)
    things["processes"] = futures.ProcessPoolExecutor(1)
    things["in_process"] = things["processes"].submit(time.sleep, 600)
    things["done"] = futures.Future()
    things["done"].set_result(1)
    while "inner" not in things or things["threads"]._work_queue.qsize() < 3:
        time.sleep(0.01)

with open(os.path.join(directory, "never_done.py"), "w") as module:
    module.write("import sys, time\nsys.never_done = 1\ntime.sleep(600)\n")
sys.path.insert(0, directory)


def importer():
    __import__("never_done")


def named(thread, name):
    thread.daemon = True
    thread.start()
    numbers["ident_" + name] = thread.ident


named(threading.Thread(target=importer), "holds_import")
while not hasattr(sys, "never_done"):
    time.sleep(0.01)
named(threading.Thread(target=importer, name="wants"), "wants_import")
things["wants"] = [thread for thread in threading.enumerate() if thread.name == "wants"][0]
numbers["line_importer"] = importer.__code__.co_firstlineno

for name, thing in things.items():
    print("%s %d" % (name, id(thing)))
for name, number in numbers.items():
    print("%s %d" % (name, number))
print("ready")
sys.stdout.flush()
time.sleep(600)
