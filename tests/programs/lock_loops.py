"""Tasks of an event loop that ask for a lock on a file. argv: ROLE PATH [MORE ...]. Python 3.8 and later."""

import asyncio
import fcntl
import os
import sys
import threading
import time


def ready():
    print("ready")
    sys.stdout.flush()


def try_lock(path):
    """Open the file, try once, close it again: between two tries nothing is left in /proc."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


class TaskLock:
    """A lock in the manner of libraries for event loops."""

    def __init__(self, path, pause=0.05):
        self.lock_file = path
        self.pause = pause
        self.fd = None

    async def acquire(self):
        while True:
            self.fd = try_lock(self.lock_file)
            if self.fd is not None:
                return
            await asyncio.sleep(self.pause)

    async def __aenter__(self):
        await self.acquire()

    async def __aexit__(self, *error):
        os.close(self.fd)


async def save(path):
    async with TaskLock(path):
        await asyncio.sleep(1000)


async def save_twice(path):
    async with TaskLock(path):
        await save(path)


async def save_both(first, second):
    async with TaskLock(first):
        await asyncio.sleep(0.5)
        await save(second)


async def serve():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with server:
        await server.serve_forever()


async def tick():
    while True:
        await asyncio.sleep(0.1)


async def work_in_turns(path):
    while True:
        async with TaskLock(path, 0.02):
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)


async def together(*coroutines):
    ready()
    await asyncio.gather(*coroutines)


def poll(path):
    asyncio.run(together(serve(), save(path)))


def hold_and_poll(path):
    """Two tasks of one process: one has the lock and idles, the other polls."""
    asyncio.run(together(save(path), save(path)))


def nested(path):
    asyncio.run(together(save_twice(path)))


def ring(first, second):
    asyncio.run(together(save_both(first, second)))


def idle(path):
    """A server with a timer that knows the path, and wants nothing of it."""
    asyncio.run(together(serve(), tick()))


def turns(path):
    asyncio.run(together(*(work_in_turns(path) for _ in range(4))))


def callback(path):
    """No task polls: a function has itself called again."""

    def attempt(loop):
        if try_lock(path) is None:
            loop.call_later(0.05, attempt, loop)

    async def main():
        attempt(asyncio.get_running_loop())
        ready()
        await asyncio.sleep(1000)

    asyncio.run(main())


def poll_filelock(path):
    import filelock

    async def store():
        async with filelock.AsyncFileLock(path):
            await asyncio.sleep(1000)

    asyncio.run(together(store()))


def poll_trio(path):
    import trio

    async def store():
        while try_lock(path) is None:
            await trio.sleep(0.05)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store)
            nursery.start_soon(trio.sleep, 1000)
            ready()

    trio.run(main)


def poll_gevent(path):
    from gevent import monkey

    monkey.patch_all()
    import gevent

    def store():
        while try_lock(path) is None:
            time.sleep(0.05)

    workers = [gevent.spawn(store), gevent.spawn(gevent.sleep, 1000)]
    ready()
    gevent.joinall(workers)


def thread_turns(path, how):
    """Threads of one process that take the lock for a moment each, in turn."""

    def work():
        while True:
            if how == "block":
                with open(path, "a") as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    time.sleep(0.2)
            else:
                while (fd := try_lock(path)) is None:
                    time.sleep(0.02)
                time.sleep(0.2)
                os.close(fd)
            time.sleep(0.2)

    for _ in range(4):
        threading.Thread(target=work).start()
    ready()


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
