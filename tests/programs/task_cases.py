"""asyncio tasks that wait for each other, and some that only look like it. argv: CASE. Python 3.7 and later."""

import asyncio
import functools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

KEEP = []


def ready():
    print("ready")
    sys.stdout.flush()


class Account:
    def __init__(self):
        self.mutex = asyncio.Lock()
        self.taken = asyncio.Event()


async def transfer(mine, other):
    async with mine.mutex:
        mine.taken.set()
        await other.taken.wait()
        async with other.mutex:
            print("never")


async def abba():
    """Two tasks, two locks, in opposite order; the loop is idle."""
    one, two = Account(), Account()
    work = asyncio.gather(transfer(one, two), transfer(two, one))
    asyncio.get_event_loop().call_later(0.3, ready)
    await work


async def by_acquire(first, second, met):
    await first.acquire()
    met.append(1)
    while len(met) < 2:
        await asyncio.sleep(0.01)
    await second.acquire()
    second.release()
    first.release()


async def abba_acquire():
    """The same by acquire(), beside a server and a ticker that go on."""
    one, two, met = asyncio.Lock(), asyncio.Semaphore(1), []
    asyncio.ensure_future(by_acquire(one, two, met))
    asyncio.ensure_future(by_acquire(two, one, met))
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    asyncio.get_event_loop().call_later(0.3, ready)
    while True:
        await asyncio.sleep(0.05)


async def reentry():
    """A coroutine that holds the lock awaits another that takes it."""
    lock = asyncio.Lock()

    async def balance():
        async with lock:
            return 1

    async def pay():
        async with lock:
            return await balance()

    asyncio.get_event_loop().call_later(0.3, ready)
    await pay()


async def await_each_other():
    """Two tasks that await each other, one through gather()."""
    tasks = []

    async def first():
        await asyncio.sleep(0.05)
        await asyncio.gather(tasks[1], asyncio.sleep(0))

    async def second():
        await asyncio.sleep(0.05)
        await asyncio.wait({tasks[0]})

    tasks.extend([asyncio.ensure_future(first()), asyncio.ensure_future(second())])
    asyncio.get_event_loop().call_later(0.4, ready)
    await asyncio.shield(tasks[0])


async def awaits_itself():
    """A task gathers what it is part of."""
    tasks = []

    async def work():
        await asyncio.sleep(0.05)
        await asyncio.gather(tasks[0], asyncio.sleep(0))

    tasks.append(asyncio.ensure_future(work()))
    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.shield(tasks[0])


async def places_lost():
    """Workers fail with the places of a semaphore; the next one waits for a place."""
    places = asyncio.Semaphore(2)

    async def work():
        await places.acquire()
        raise KeyError

    await asyncio.gather(work(), work(), return_exceptions=True)
    asyncio.get_event_loop().call_later(0.2, ready)
    async with places:
        pass


async def unfinished():
    """A worker fails before it says that its work is done."""
    jobs = asyncio.Queue()
    jobs.put_nowait(1)

    async def work():
        await jobs.get()
        raise KeyError

    await asyncio.gather(work(), return_exceptions=True)
    asyncio.get_event_loop().call_later(0.2, ready)
    await jobs.join()


async def lock_and_join():
    """A task awaits, inside a lock, another one that wants the lock."""
    lock = asyncio.Lock()

    async def wants():
        async with lock:
            pass

    async def waits():
        async with lock:
            await asyncio.ensure_future(wants())

    asyncio.get_event_loop().call_later(0.3, ready)
    await waits()


async def through_threads():
    """A coroutine waits, inside a lock, for a thread that waits for a coroutine that wants the lock."""
    lock, loop = asyncio.Lock(), asyncio.get_event_loop()

    async def inner():
        async with lock:
            pass

    def work():
        asyncio.run_coroutine_threadsafe(inner(), loop).result()

    async def outer():
        async with lock:
            await loop.run_in_executor(None, work)

    loop.call_later(0.4, ready)
    await outer()


async def executor_full():
    """Workers of the loop's executor wait for coroutines that wait for a worker."""
    loop, pool = asyncio.get_event_loop(), ThreadPoolExecutor(2)
    gate = threading.Barrier(2)

    async def inner():
        await loop.run_in_executor(pool, int)

    def work():
        gate.wait()
        asyncio.run_coroutine_threadsafe(inner(), loop).result()

    loop.call_later(0.4, ready)
    await asyncio.gather(*(loop.run_in_executor(pool, work) for _ in range(2)))


async def events():
    """Two tasks, each waits for the event that the other would set next."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def client():
        await answered.wait()
        asked.set()

    async def server():
        await asked.wait()
        answered.set()

    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.gather(client(), server())


async def lost_item():
    """A task waits for an item of a queue whose producer has died."""
    jobs = asyncio.Queue()

    async def producer():
        raise ValueError("never puts")

    work = asyncio.ensure_future(producer())
    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.wait([work])
    await jobs.get()


# -- healthy ---------------------------------------------------------------------------------------


async def serving():
    """Clients that are silent, a queue whose consumers are idle, a task that sleeps, one that ticks."""
    jobs, lock = asyncio.Queue(), asyncio.Lock()

    async def client(reader, writer):
        async with asyncio.Semaphore(5):
            await reader.read(10)

    async def consumer():
        while True:
            await jobs.get()

    async def reporter():
        async with lock:
            await asyncio.sleep(1000)

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    for _ in range(3):
        KEEP.append(await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))
    KEEP.extend(asyncio.ensure_future(consumer()) for _ in range(3))
    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.gather(reporter(), *(asyncio.sleep(1000) for _ in range(3)))


async def contended():
    """Eight tasks take turns: somebody always waits, nobody for long."""
    lock = asyncio.Lock()

    async def turn():
        while True:
            async with lock:
                await asyncio.sleep(0.02)

    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.gather(*(turn() for _ in range(8)))


async def timed():
    """Two locks in opposite order, but with a time limit."""
    one, two, met = asyncio.Lock(), asyncio.Lock(), []

    async def work(first, second):
        async with first:
            met.append(1)
            while len(met) < 2:
                await asyncio.sleep(0.01)
            await asyncio.wait_for(second.acquire(), 600)

    asyncio.get_event_loop().call_later(0.4, ready)
    await asyncio.gather(work(one, two), work(two, one))


async def slow_holder():
    """A lock is held by a task that waits for a client; others want it."""
    lock = asyncio.Lock()
    server = await asyncio.start_server(lambda reader, writer: KEEP.append(writer), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    KEEP.append(writer)

    async def asks():
        async with lock:
            await reader.read(10)

    async def wants():
        async with lock:
            pass

    asyncio.get_event_loop().call_later(0.3, ready)
    await asyncio.gather(asks(), wants(), wants())


async def in_threads():
    """The loop waits for a thread that works; another thread waits for a task that sleeps."""
    loop = asyncio.get_event_loop()
    waits = functools.partial(lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(1000), loop).result())
    loop.call_later(0.3, ready)
    await asyncio.gather(
        loop.run_in_executor(None, threading.Event().wait, 1000), loop.run_in_executor(None, waits)
    )


async def for_ever():
    """The way to serve until a signal comes."""
    await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    ready()
    await asyncio.get_event_loop().create_future()


async def only_event():
    """The way to wait for Ctrl-C, without a server."""
    asyncio.get_event_loop().call_later(0.2, ready)
    await asyncio.Event().wait()


async def fed_by_thread():
    """Items come from a thread that reads."""
    import os

    loop, jobs, pipe = asyncio.get_event_loop(), asyncio.Queue(), os.pipe()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(jobs.put_nowait, os.read(pipe[0], 1)), daemon=True).start()
    loop.call_later(0.2, ready)
    await jobs.get()


async def on_signal():
    """An item comes with a signal."""
    import signal

    loop, jobs = asyncio.get_event_loop(), asyncio.Queue()
    loop.add_signal_handler(signal.SIGTERM, jobs.put_nowait, 1)
    loop.call_later(0.2, ready)
    await jobs.get()


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(globals()[sys.argv[1]]())
