"""Tasks of trio that wait for each other, and some that only look like it. argv: CASE."""

import sys

import trio


def ready():
    print("ready")
    sys.stdout.flush()


async def transfer(mine, other, limit):
    async with mine:
        await trio.sleep(0.05)
        with trio.move_on_after(limit):
            async with other:
                pass


async def opposite(limit):
    one, two = trio.Lock(), trio.Lock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transfer, one, two, limit)
        nursery.start_soon(transfer, two, one, limit)
        await trio.sleep(0.3)
        ready()


async def abba():
    """Two tasks, two locks, in opposite order."""
    await opposite(float("inf"))


async def timed():
    """The same with a time limit."""
    await opposite(1000)


async def wants(lock):
    async with lock:
        pass


async def nursery_inside():
    """A task starts another inside a lock, and waits for its end; that one wants the lock."""
    lock = trio.Lock()
    async with lock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wants, lock)
            await trio.sleep(0.1)
            ready()


async def turns():
    """Eight tasks take turns: somebody always waits, nobody for long."""
    lock = trio.Lock()

    async def turn():
        while True:
            async with lock:
                await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(turn)
        await trio.sleep(0.3)
        ready()


async def slow_holder():
    """Some wait for a lock whose holder works."""
    lock = trio.Lock()
    async with trio.open_nursery() as nursery:
        async with lock:
            nursery.start_soon(wants, lock)
            await trio.sleep(0.1)
            ready()
            await trio.sleep(1000)


async def serving():
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, lambda stream: trio.sleep(1000), 0)
        ready()


trio.run(globals()[sys.argv[1]])
