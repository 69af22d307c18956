"""Which threads sleep on the lock of their interpreter (GIL), told by where that lock lies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from diag.collectors import maps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from diag.host import Host
    from diag.model.facts import Stack, Thread

    ThreadId = tuple[int, int]

_MOST = 4 << 20
"""Bytes of an interpreter's data that are searched for a pointer."""


def find(host: Host, threads: Iterable[Thread], stacks: Mapping[ThreadId, Stack]) -> Iterator[ThreadId]:
    """Yield the threads whose futex is the GIL.

    From 3.2 on its parts (a mutex, two condition variables: Python/ceval_gil.c) are variables of the
    interpreter itself; locks of programs lie in the heap. In 2.7 it lies in the heap too, but a variable
    of the interpreter points to it: so does one to the import lock, which is rarer.
    """
    known: dict[int, _Interpreter] = {}
    members = Counter(pid for pid, _ in stacks)
    for thread in threads:
        key = (thread.pid, thread.tid)
        call = thread.syscall
        if key not in stacks or call is None or call.name != "futex" or members[thread.pid] == 1:
            continue  # alone, a thread never waits for the GIL
        if thread.pid not in known:
            known[thread.pid] = _Interpreter(host, thread.pid)
        if known[thread.pid].has(call.arguments[0]):
            yield key


class _Interpreter:
    """The data of one process's interpreter, read when it is needed."""

    def __init__(self, host: Host, pid: int) -> None:
        found = maps.collect(host, pid)
        self._host, self._pid = host, pid
        self._areas = maps.interpreter_data(found)
        self._is_old = maps.is_python_2(found)
        self._data: bytes | None = None

    def has(self, futex: int) -> bool:
        """Whether a futex is part of the GIL of this interpreter."""
        if not self._is_old:
            return any(start <= futex < end for start, end in self._areas)
        if self._data is None:
            self._data = b"".join(self._read(start, end) for start, end in self._areas)
        at = self._data.find(futex.to_bytes(8, "little"))
        return at >= 0 and at % 8 == 0

    def _read(self, start: int, end: int) -> bytes:
        try:
            return self._host.read_at(f"/proc/{self._pid}/mem", start, min(end - start, _MOST))
        except OSError:
            return b""
