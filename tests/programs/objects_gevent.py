"""Two greenlets that want each other's lock, one that sleeps, one that reads; prints where they stand.

``greenlet_NAME ADDRESS``, ``line_NAME LINE`` of its own function, ``depth_NAME`` frames.
"""

import sys
import threading
import time

import gevent
import gevent.event
import gevent.lock

one, two = gevent.lock.BoundedSemaphore(1), gevent.lock.RLock()
event = gevent.event.Event()


def abba(first, second):
    with first:
        gevent.sleep(0.05)
        with second:
            pass


def on_event():
    event.wait()


def on_time():
    gevent.sleep(600)


def never():
    pass


here = {
    "ab": gevent.spawn(abba, one, two),
    "ba": gevent.spawn(abba, two, one),
    "event": gevent.spawn(on_event),
    "time": gevent.spawn(on_time),
}
gevent.sleep(0.3)
here["unstarted"] = gevent.Greenlet(never)
print("hub %d" % id(gevent.get_hub()))
for name, greenlet in here.items():
    print("greenlet_%s %d" % (name, id(greenlet)))
    frame, depth, line = greenlet.gr_frame, 0, 0
    while frame is not None:
        depth, line = depth + 1, frame.f_lineno if "objects_gevent" in frame.f_code.co_filename else line
        frame = frame.f_back
    print("line_%s %d" % (name, line))
    print("depth_%s %d" % (name, depth))
for name, thing in (("one", one), ("two", two), ("event", event)):
    print("%s %d" % (name, id(thing)))
print("ready")
sys.stdout.flush()
if len(sys.argv) > 1:
    time.sleep(600)  # blocks the hub
gevent.get_hub().join() if False else gevent.wait(list(here.values())[:4])
