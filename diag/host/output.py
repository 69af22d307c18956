"""Searches what a program prints, while it prints it."""

from __future__ import annotations

import errno
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

from diag.host.finder import finder_of
from diag.host.names import to_path
from diag.host.search import numbered
from diag.host.stream import pipe, stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.host.cut import Found, More
    from diag.host.records import Hit

_COMPLAINT = 2000  # bytes of the error stream that are looked at


def search_output(
    argv: Sequence[str], needles: Sequence[str], more: More, *, timeout: float, most: int = 0
) -> Iterator[tuple[Hit, ...]]:
    """Yield the printed lines that hold one of ``needles``; see ``Host.search_output``."""
    late, lines = threading.Event(), _Lines()
    with tempfile.TemporaryFile() as errors:
        words = [to_path(word) for word in argv]
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as child:

            def end() -> None:
                late.set()
                child.kill()

            timer = threading.Timer(timeout, end)
            timer.daemon = True
            timer.start()
            try:
                assert child.stdout is not None
                printed = stream(pipe(child.stdout.fileno()), finder_of(tuple(needles)), more)
                yield from numbered(lines.of(printed))
            finally:
                timer.cancel()
                child.kill()  # nobody reads on: it must not wait for a reader
        if late.is_set():
            raise TimeoutError(errno.ETIMEDOUT, f"{argv[0]} was still printing after {timeout:g} s")
        errors.seek(0)
        _complain(argv[0], child.returncode, errors.read(_COMPLAINT))
    if most and lines.seen >= most:
        raise OSError(errno.EFBIG, f"{argv[0]} printed the {most:,} lines that it was asked for")


class _Lines:
    """Counts lines that pass."""

    def __init__(self) -> None:
        self.seen = 0

    def of(self, pieces: Iterator[Found]) -> Iterator[Found]:
        for piece in pieces:
            self.seen += piece.newlines
            yield piece


def _complain(name: str, code: int, said: bytes) -> None:
    if b"not seeing messages" in said:  # systemd's own hint to users without the right
        raise PermissionError(errno.EACCES, f"{name} shows only this user's own messages")
    if code > 0 and b"No journal files were" not in said:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise OSError(errno.EIO, f"{name}: {lines[-1] if lines else f'exit status {code}'}")
