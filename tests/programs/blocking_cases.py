"""A coroutine that makes a blocking call, in asyncio's own loop or uvloop's. argv: CASE [uvloop]. Python 3.7 and later."""

import asyncio
import fcntl
import os
import socket
import sys
import tempfile
import time
from urllib.request import urlopen

KEEP = []


def ready():
    print("ready")
    sys.stdout.flush()


async def sleeps():
    ready()
    time.sleep(1000)


async def flocks():
    """The lock is another process's."""
    path, pipe = tempfile.mkstemp()[1], os.pipe()
    if os.fork() == 0:
        file = open(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(pipe[1], b"x")
        time.sleep(1000)
    os.read(pipe[0], 1)
    file = open(path)
    os.unlink(path)
    ready()
    fcntl.flock(file, fcntl.LOCK_EX)


async def requests():
    """A server that takes the connection and does not answer."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    KEEP.append(server)
    ready()
    urlopen("http://127.0.0.1:%d/" % server.getsockname()[1])


async def main():
    KEEP.append(asyncio.ensure_future(asyncio.sleep(1000)))
    await asyncio.sleep(0.05)
    await globals()[sys.argv[1]]()


if sys.argv[2:] == ["uvloop"]:
    import uvloop

    uvloop.install()
asyncio.run(main())
