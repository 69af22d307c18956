"""An application whose workers all come to stand behind one lock. Loaded by gunicorn, uWSGI and celery.

/file-hold PATH of a FIFO: takes the file lock, then waits for somebody to write into the FIFO; /file wants it
/process-die: the worker is killed in the middle of the lock that the workers share; /process wants it
/thread-again: takes the thread lock twice; /thread wants it
/itself: asks this very server
"""
from __future__ import print_function

import fcntl
import multiprocessing
import os
import signal
import threading
import time

SHARED = multiprocessing.Lock()  # made before the workers are forked
LOCAL = threading.Lock()


class FileLock(object):
    def __enter__(self):
        self.file = open(os.environ["STUCK_LOCK"], "a")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        self.file.close()


def file_hold():
    with FileLock() as lock:
        lock.file.write("held")
        lock.file.flush()
        open(os.environ["STUCK_FIFO"]).read()


def file():
    with FileLock():
        return


def file_later():
    """Want the lock when file_hold has it: a worker takes tasks in any order."""
    while not os.path.exists(os.environ["STUCK_LOCK"]) or not os.path.getsize(os.environ["STUCK_LOCK"]):
        time.sleep(0.01)
    file()


def process_die():
    with SHARED:
        os.kill(os.getpid(), signal.SIGKILL)


def process():
    with SHARED:
        return


def thread_again():
    with LOCAL:
        thread()


def thread():
    with LOCAL:
        return


def itself():
    try:
        from urllib.request import urlopen
    except ImportError:
        from urllib2 import urlopen
    urlopen("http://127.0.0.1:%s/" % os.environ["SERVER_PORT"]).read()


def application(environ, start_response):
    os.environ["SERVER_PORT"] = environ["SERVER_PORT"]
    name = environ["PATH_INFO"].strip("/").replace("-", "_")
    if name:
        globals()[name]()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine\n"]


def celery(broker):
    """Run a celery worker of three processes over a broker of files; with STUCK its tasks are sent first."""
    from celery import Celery

    app = Celery("served", broker="filesystem://")
    app.conf.update(
        broker_transport_options={"data_folder_in": broker, "data_folder_out": broker, "control_folder": broker},
        worker_hijack_root_logger=False,
    )
    tasks = {name: app.task(globals()[name], name=name) for name in ("file_hold", "file_later")}
    for name in os.environ.get("STUCK_TASKS", "").split():
        tasks[name].delay()
    app.worker_main(["worker", "--pool=prefork", "--concurrency=3", "--without-gossip", "--without-mingle"])


if __name__ == "__main__":
    import sys

    celery(sys.argv[1])
