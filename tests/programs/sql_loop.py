"""Tasks of asyncio whose statements a bounded executor runs: the COMMIT queues behind the UPDATEs."""
import asyncio
from concurrent.futures import ThreadPoolExecutor


def run(server, size, clients, execute, ready):
    pool = ThreadPoolExecutor(max_workers=size)
    connected = []

    async def request():
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(None, server.connect)
        connected.append(connection)
        while len(connected) < clients:
            await asyncio.sleep(0.01)
        await loop.run_in_executor(pool, execute, connection, server.update)
        await loop.run_in_executor(pool, connection.commit)

    async def main():
        ready()
        await asyncio.gather(*[request() for _ in range(clients)])

    asyncio.run(main())
