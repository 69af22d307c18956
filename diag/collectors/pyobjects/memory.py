"""Another process's memory: bounded, cached reads that answer None instead of failing."""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.maps import Mapping
    from diag.host import Host

LARGEST = 1 << 20
"""Bytes of one read: a table of 40,000 entries. Larger things are looked at in part."""
MOST_BYTES = 64 << 20
MOST_READS = 400_000
"""What one process may cost; measured: 3 microseconds a read. After that, everything is unreadable."""
HIGHEST = 1 << 56
"""No user address on any 64-bit Linux lies higher (x86-64 with five-level page tables)."""

_PAGE = 4096


class Memory:
    """Reads /proc/PID/mem. What was read once is given again until ``forget``."""

    def __init__(self, host: Host, pid: int, maps: Sequence[Mapping] = ()) -> None:
        self._host = host
        self._path = f"/proc/{pid}/mem"
        self._cache: dict[tuple[int, int], bytes | None] = {}
        self._bytes = 0
        self._reads = 0
        risky = [item for item in maps if _is_risky(item)]
        self._risky_starts = [item.start for item in risky]
        self._risky_ends = [item.end for item in risky]

    @property
    def exhausted(self) -> bool:
        """Whether the bounds were met, so that things look unreadable which are not."""
        return self._reads >= MOST_READS or self._bytes >= MOST_BYTES

    def forget(self) -> None:
        """Read everything anew from now on."""
        self._cache.clear()

    def read(self, address: int, size: int) -> bytes | None:
        """Read exactly ``size`` bytes; None when they cannot be had."""
        key = (address, size)
        if key not in self._cache:
            self._cache[key] = self._fetch(address, size)
        return self._cache[key]

    def some(self, address: int, size: int) -> bytes:
        """Read at most ``size`` bytes, fewer where the memory ends before."""
        if (data := self.read(address, size)) is not None:
            return data
        return self.read(address, min(size, _PAGE - address % _PAGE)) or b""

    def word(self, address: int) -> int | None:
        """Read a pointer or size_t."""
        data = self.read(address, 8)
        return None if data is None else int.from_bytes(data, "little")

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Read ``count`` pointers; none when they cannot all be read."""
        if not 0 < count <= LARGEST // 8:
            return ()
        data = self.read(address, 8 * count)
        return () if data is None else struct.unpack(f"<{count}Q", data)

    def int32(self, address: int) -> int | None:
        """Read a C int."""
        data = self.read(address, 4)
        return None if data is None else int.from_bytes(data, "little", signed=True)

    def text(self, address: int, limit: int = 256) -> str | None:
        """Read a C string; None when it is not closed within ``limit`` bytes."""
        data, nul, _ = self.some(address, limit).partition(b"\0")
        return data.decode("utf-8", "replace") if nul else None

    def _fetch(self, address: int, size: int) -> bytes | None:
        if not (_PAGE <= address < HIGHEST and 0 < size <= LARGEST) or self.exhausted:
            return None
        if self._is_risky(address, size):
            return None
        self._reads += 1
        self._bytes += size
        try:
            data = self._host.read_at(self._path, address, size)
        except OSError:
            return None
        return data if len(data) == size else None

    def _is_risky(self, address: int, size: int) -> bool:
        at = bisect_right(self._risky_starts, address + size - 1)
        return at > 0 and self._risky_ends[at - 1] > address


class Shifted(Memory):
    """Memory of which one range is read from somewhere else, where it was copied to."""

    def __init__(self, memory: Memory, start: int, size: int, kept: int) -> None:
        self._memory, self._start, self._size, self._kept = memory, start, size, kept

    def read(self, address: int, size: int) -> bytes | None:
        """Read exactly ``size`` bytes; None when they cannot be had."""
        if self._start <= address < self._start + self._size:
            address += self._kept - self._start
        return self._memory.read(address, size)


def _is_risky(item: Mapping) -> bool:
    """Whether reading a mapping may wait for a device or a server, where no Python object can be."""
    if not item.path.startswith("/"):
        return item.path in ("[vvar]", "[vvar_vclock]", "[vsyscall]")
    if item.path.startswith(("/dev/shm/", "/memfd:")):  # noqa: S108
        return False
    return item.path.startswith("/dev/") or item.access.endswith("s")
