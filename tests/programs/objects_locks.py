"""Locks of every kind, taken or not, each with a thread that sleeps on it; prints their addresses.

``NAME ADDRESS`` for objects, ``tid_NAME TID`` for the thread that sleeps on one, ``ident_main``.
"""

import ctypes
import os
import sys
import threading
import time

try:
    import queue
except ImportError:
    import Queue as queue
import multiprocessing

GETTID = {"x86_64": 186, "aarch64": 178}[os.uname()[4]]
gettid = ctypes.CDLL(None).syscall
things = {}
pending = []
sleepers = []


def sleeper(name, call):
    def run():
        pending.append(("tid_" + name, gettid(GETTID)))
        call()

    thread = threading.Thread(target=run, name="sleeper-" + name)
    thread.daemon = True
    thread.start()
    sleepers.append(thread)


def with_lock(lock):
    with lock:
        pass


def wait(condition):
    with condition:
        condition.wait()


class Mine(threading.Condition if isinstance(threading.Condition, type) else object):
    pass


things["free"] = threading.Lock()
things["taken"] = threading.Lock()
things["taken"].acquire()
things["free_rlock"] = threading.RLock()
things["rlock"] = threading.RLock()
things["rlock"].acquire()
things["rlock"].acquire()
things["condition"] = threading.Condition()
things["mine"] = Mine() if Mine.__mro__[1] is not object else threading.Condition()
things["semaphore"] = threading.Semaphore(2)
things["empty"] = threading.BoundedSemaphore(1)
things["empty"].acquire()
things["event"] = threading.Event()
things["set_event"] = threading.Event()
things["set_event"].set()
things["queue"] = queue.Queue(3)
things["queue"].put(1)
things["drained"] = queue.Queue()
things["full"] = queue.Queue(1)
things["full"].put(1)
things["mp_lock"] = multiprocessing.Lock()
things["mp_lock"].acquire()
things["mp_free"] = multiprocessing.Lock()
things["mp_rlock"] = multiprocessing.RLock()
things["mp_rlock"].acquire()
things["mp_semaphore"] = multiprocessing.Semaphore(5)
if hasattr(queue, "SimpleQueue"):
    things["simple"] = queue.SimpleQueue()
    sleeper("simple", things["simple"].get)
if hasattr(threading, "Barrier"):
    things["barrier"] = threading.Barrier(3)
    sleeper("barrier", things["barrier"].wait)

sleeper("taken", things["taken"].acquire)
sleeper("rlock", things["rlock"].acquire)
sleeper("condition", lambda: wait(things["condition"]))
sleeper("mine", lambda: wait(things["mine"]))
sleeper("empty", things["empty"].acquire)
sleeper("event", things["event"].wait)
sleeper("drained", things["drained"].get)
sleeper("full", lambda: things["full"].put(2))
sleeper("mp_lock", things["mp_lock"].acquire)
things["thread"] = sleepers[0]
sleeper("thread", things["thread"].join)
things["self_thread"] = threading.current_thread()

while len(pending) < len(sleepers):
    time.sleep(0.01)
for name, thing in things.items():
    print("%s %d" % (name, id(thing)))
for name, tid in pending:
    print("%s %d" % (name, tid))
identify = getattr(threading, "get_ident", None) or threading.current_thread().ident
print("ident_main %d" % (identify() if callable(identify) else identify))
print("ready")
sys.stdout.flush()
time.sleep(600)
