"""Changes everything it has all the time; prints ``NAME ADDRESS``."""

import collections
import sys
import threading
import time

things = {
    "dict": {},
    "list": [],
    "set": set(),
    "deque": collections.deque(),
    "lock": threading.Lock(),
    "rlock": threading.RLock(),
    "condition": threading.Condition(),
}


class Thing(object):
    pass


things["thing"] = Thing()
things["thing"].inner = Thing()


def churn():
    number = 0
    while True:
        number += 1
        key = "key-%d" % (number % 997)
        things["dict"][key] = [key, {key: number}]
        things["list"].append((number, key))
        things["set"].add(key)
        things["deque"].append(Thing())
        setattr(things["thing"], "a%d" % (number % 50), Thing())
        with things["lock"], things["rlock"], things["condition"]:
            things["condition"].notify()
        if number % 503 == 0:
            things["dict"].clear()
            del things["list"][:]
            things["set"].clear()
            things["deque"].clear()
            things["thing"].__dict__.clear()
            time.sleep(0.001)


for _ in range(2):
    thread = threading.Thread(target=churn)
    thread.daemon = True
    thread.start()
for name, thing in things.items():
    print("%s %d" % (name, id(thing)))
print("ready")
sys.stdout.flush()
time.sleep(600)
