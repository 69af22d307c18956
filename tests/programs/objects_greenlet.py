"""Plain greenlets, switched out inside nested calls; prints ``NAME ADDRESS`` and ``line_NAME LINE``."""

import sys
import time

import greenlet

main = greenlet.getcurrent()


def inner(number):
    main.switch(number)


def outer():
    inner(1)


def runs():
    print("ready")
    sys.stdout.flush()
    time.sleep(600)


class Own(greenlet.greenlet):
    pass


things = {"out": Own(outer), "child": greenlet.greenlet(outer), "unstarted": greenlet.greenlet(outer)}
things["runs"] = greenlet.greenlet(runs)
for name in ("out", "child"):
    things[name].switch()
for name, thing in things.items():
    print("%s %d" % (name, id(thing)))
print("main %d" % id(main))
print("line_inner %d" % (inner.__code__.co_firstlineno + 1))
print("line_outer %d" % (outer.__code__.co_firstlineno + 1))
sys.stdout.flush()
things["runs"].switch()
