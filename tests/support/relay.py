"""A line between a client and a real server that breaks when a test wants it to."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def relay(port: int, *, answers: int = 1 << 30, calls: int = 1 << 30, hangs: bool = False) -> Iterator[int]:
    """Yield a port that leads to ``port`` for so many pieces of answer a call, and for so many calls.

    After that the line is cut, or with ``hangs`` stays open and carries nothing more.
    """
    over = threading.Event()

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server, suppress(OSError):
            left = answers
            while not over.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.1)
                for side in ready if left > 0 else ():
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    (server if side is client else client).sendall(data)
                    left -= side is server
                if left <= 0:
                    if not hangs:
                        return
                    over.wait(0.1)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            for _ in range(calls):
                client, _ = listener.accept()
                threads.append(threading.Thread(target=carry, args=(client,)))
                threads[-1].start()
            listener.close()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
        accepting = threading.Thread(target=accept, args=(listener,))
        accepting.start()
        try:
            yield number
        finally:
            over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join()
