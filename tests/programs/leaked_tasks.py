"""The cases of leaked_cases.py that need coroutines."""

import asyncio
import sys
import threading

MUTEX = threading.Lock()


class Cache:
    def __init__(self):
        self.lock = asyncio.Lock()
        self.table = {}

    async def get(self, key):
        await self.lock.acquire()
        value = self.table[key]
        self.lock.release()
        return value


async def leak():
    cache = Cache()
    try:
        await cache.get("missing")
    except KeyError:
        pass
    print("ready")
    sys.stdout.flush()
    await cache.get("missing")


async def across():
    async def holds():
        with MUTEX:
            await asyncio.sleep(0.5)

    async def wants():
        await asyncio.sleep(0.1)
        print("ready")
        sys.stdout.flush()
        with MUTEX:
            pass

    await asyncio.gather(holds(), wants())


def run(case):
    asyncio.get_event_loop_policy().new_event_loop().run_until_complete(case())
