"""The mappings of a process, from /proc/PID/maps (proc_pid_maps(5))."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

LIMIT = 8 << 20
"""Bytes of maps that are read: some processes have a hundred thousand mappings."""


class Mapping(NamedTuple):
    """One line of maps."""

    start: int
    end: int
    access: str  # "rw-p"
    offset: int
    path: str  # "" for anonymous memory
    device: str = ""  # "fe:00", hexadecimal; of anonymous memory "00:00"
    inode: int = 0


def parse_maps(text: str) -> Iterator[Mapping]:
    """Parse all lines; a line cut short is left out."""
    for line in text.splitlines():
        words = line.split(None, 5)
        if len(words) < 5:
            continue
        start, _, end = words[0].partition("-")
        path = words[5] if len(words) > 5 else ""
        yield Mapping(
            int(start, 16), int(end, 16), words[1], int(words[2], 16), path, words[3], int(words[4])
        )


def collect(host: Host, pid: int) -> tuple[Mapping, ...]:
    """Read the mappings; none when they may not be seen."""
    try:
        text = host.read(f"/proc/{pid}/maps", LIMIT).decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(parse_maps(text))


def interpreter_data(maps: tuple[Mapping, ...]) -> tuple[tuple[int, int], ...]:
    """Find where an interpreter keeps its own variables: writable .data, and the .bss right after it.

    The interpreter is libpython, or else the executable, which is the first mapping.
    """
    images = {item.path for item in maps if "/libpython" in item.path}
    if not images:
        images = {item.path for item in maps[:1]}
    found = []
    for item, after in zip_longest(maps, maps[1:]):
        if not item.path or item.path not in images or not item.access.startswith("rw"):
            continue
        end = item.end
        if after is not None and after.start == end and not after.path and after.access.startswith("rw"):
            end = after.end
        found.append((item.start, end))
    return tuple(found)


def is_python_2(maps: tuple[Mapping, ...]) -> bool:
    """Whether the interpreter is a Python 2, as the paths of what it has mapped say."""
    return any("python2" in item.path for item in maps)
