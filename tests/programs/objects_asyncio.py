"""Tasks that wait for each other's locks, for an event, a queue, a task and time; prints where they stand.

``line_NAME LINE`` is the line at which the outermost frame of a task's coroutine waits; ``inner_NAME``
that of the innermost frame. ``task_NAME ADDRESS``, ``fut_NAME`` its future.
"""

import asyncio
import sys
import time

here = {}


async def pair(first, second, name):
    async with first:
        await asyncio.sleep(0.05)
        async with second:
            pass


async def deep(depth, event):
    if depth:
        await deep(depth - 1, event)
    else:
        await event.wait()


async def on_queue(queue):
    value = 1

    def keeps():  # makes value a cell variable
        return value

    await queue.get()
    keeps()


async def on_task(task):
    await task


async def on_gather(*things):
    await asyncio.gather(*things)


async def on_time():
    await asyncio.sleep(600)


def position(coroutine):
    found = []
    while True:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        found.append(frame.f_lineno)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found


def start(name, coroutine):
    if sys.version_info >= (3, 8):
        task = asyncio.get_event_loop().create_task(coroutine, name=name)
    else:
        task = asyncio.get_event_loop().create_task(coroutine)
    here[name] = (task, coroutine)
    return task


async def main():
    one, two, event, queue = asyncio.Lock(), asyncio.Lock(), asyncio.Event(), asyncio.Queue()
    start("ab", pair(one, two, "ab"))
    start("ba", pair(two, one, "ba"))
    start("deep", deep(3, event))
    start("queue", on_queue(queue))
    start("time", on_time())
    start("task", on_task(here["deep"][0]))
    start("gather", on_gather(here["queue"][0], here["time"][0]))
    await asyncio.sleep(0.3)
    for name, (task, coroutine) in here.items():
        found = position(coroutine)
        print("task_%s %d" % (name, id(task)))
        print("line_%s %d" % (name, found[0]))
        print("depth_%s %d" % (name, len(found)))
    for name, thing in (("one", one), ("two", two), ("event", event), ("queue", queue)):
        print("%s %d" % (name, id(thing)))
    print("ready")
    sys.stdout.flush()
    time.sleep(600)  # the loop is blocked, so that nothing moves


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
