"""What threads had called before: return addresses that are still left on the dead part of their stacks.

A function that has returned leaves its frame below the stack pointer until other calls write over it. So a
core shows for a while which extension a thread that now idles had been in: the code that did the damage is
seldom at work when another stumbles over it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from diag.model.damage import PastCall
from diag.model.facts import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.native_names import Names
    from diag.collectors.pyobjects.memory import Memory
    from diag.host import CoreView
    from diag.host.records import FoundWord
    from diag.model.core import CoreImage

DEAD = 64 << 10
"""Bytes below the stack pointer that are searched."""
MOST_THREADS = 200
MOST_CALLS = 16
"""Of each thread."""

_CALL = re.compile(  # what stands right before a return address on x86-64: call rel32, call r/m64
    rb"(?:\xe8....|\xff[\xd0-\xd7]|\xff[\x10-\x13\x16\x17]|\xff[\x50-\x53\x55-\x57].|\xff\x54\x24."
    rb"|\xff[\x90-\x93\x95-\x97]....|\xff\x94\x24....|\xff\x15....|\xff\x14[^\x25].?)\Z",
    re.DOTALL,
)


class Places(NamedTuple):
    """Code ranges (start, end, path) of the libraries in question, and of the interpreter."""

    libraries: tuple[tuple[int, int, str], ...]
    interpreter: tuple[tuple[int, int], ...]

    def library(self, address: int) -> str | None:
        """The library in question that an address lies in."""
        return next((path for start, end, path in self.libraries if start <= address < end), None)


def collect(
    view: CoreView, image: CoreImage, memory: Memory, maps: Sequence[Mapping], places: Places, names: Names
) -> Iterator[PastCall]:
    """Yield the calls of each thread, the most recent first. x86-64 and aarch64 only."""
    targets = [*((start, end) for start, end, _ in places.libraries), *places.interpreter]
    if not places.libraries or image.machine not in ("x86_64", "aarch64"):
        return
    for thread in image.threads[:MOST_THREADS]:
        start = next((one.start for one in maps if one.start <= thread.sp < one.end), None)
        if start is None:
            continue
        hits = view.pointers([(max(start, thread.sp - DEAD), thread.sp)], targets)
        calls = [hit for hit in hits.found if is_return(memory, image.machine, hit.word)]
        yield from list(_of_thread(thread.tid, calls, places, names))[:MOST_CALLS]


def _of_thread(tid: int, calls: Sequence[FoundWord], places: Places, names: Names) -> Iterator[PastCall]:
    """Name each function once; from the outermost call inwards, as the stack pointer had moved."""
    seen: set[tuple[str, str]] = set()
    by_python = False
    for hit in reversed(calls):
        library = places.library(hit.word)
        if library is None:
            by_python = True
            continue
        frame = Frame(function="?", file=library, line=0, native=True, library=library, address=hit.word)
        function = names.named(frame).function
        if (library, function) not in seen:
            seen.add((library, function))
            yield PastCall(tid=tid, library=library, function=function, by_python=by_python)
        by_python = False


def is_return(memory: Memory, machine: str, address: int) -> bool:
    """Whether a call instruction stands right before: other pointers into code lie on stacks too."""
    if machine == "aarch64":
        word = int.from_bytes(memory.read(address - 4, 4) or b"", "little")
        return word >> 26 == 0b100101 or word & 0xFFFFFC1F == 0xD63F0000  # bl, blr
    return bool(_CALL.search(memory.read(address - 7, 7) or b""))
