"""A WSGI application that spools a job with each request, while a thread of its own makes tuples.

Up to uWSGI 2.0.17.1 spool() releases references that it has only borrowed, and lets go of the interpreter
lock right after: what it freed is then used by the other thread. Sooner or later the process dies.
"""

import threading

import uwsgi


def make_tuples():
    kept = []
    while True:
        for n in range(50):
            kept.append((n, [str(n)]))
        for number, texts in kept:
            texts.append((number, texts))
        if len(kept) > 500:
            del kept[:]


poller = threading.Thread(target=make_tuples, name="poller")
poller.daemon = True


def application(environ, start_response):
    if not poller.is_alive():
        poller.start()
    for _ in range(20):
        uwsgi.spool({b"function": b"send", b"args": b"1", b"kwargs": b"2"})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
