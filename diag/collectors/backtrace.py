"""The C stack that a dying process wrote itself, by backtrace_symbols(3) of the C library.

``path(function+0x2a) [0x4682ba]``; ``path(+0x36d40) [0x4682ba]`` where the file exports no name there;
``[0x4682ba]`` where no file is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_FRAME = re.compile(
    r"(?:^|[\s|])(?:(?P<file>[^\s(\[|]{1,300})"
    r"\((?P<function>[^()+\s]{0,300})(?:\+(?:0x)?[0-9a-f]+)?\) ?)?\[0x(?P<address>[0-9a-f]+)\]\s*$"
)
_LIBC = re.compile(r"(?:libc|ld-musl)[.-]")
_MOST = 100  # frames
_FOREIGN = 3  # lines of others in a row that may stand between
_LONGEST = 700  # characters of a line that are looked at


class Called(NamedTuple):
    """One frame."""

    library: str | None  # the file's name, without its directory
    function: str | None
    address: str  # hexadecimal


def parse(text: str) -> tuple[Called, ...]:
    """Read the frames at the beginning of a text, innermost first."""
    frames: list[Called] = []
    foreign = 0
    for line in text.split("\n"):
        if found := _FRAME.search(line[:_LONGEST]):
            library = found["file"] and found["file"].rpartition("/")[2]
            frames.append(Called(library, found["function"] or None, found["address"]))
            foreign = 0
        else:
            foreign += 1
        if foreign > _FOREIGN or len(frames) == _MOST:
            break
    return tuple(frames)


def faulted(frames: Sequence[Called], reporter: str) -> tuple[Called, str | None] | None:
    """Return the frame that the signal interrupted, and the next function of its file that has a name.

    It lies below the ``reporter``'s own ones and the C library's, through which the kernel returns from a
    handler; without one, nothing is sure.
    """
    place = 0
    while place < len(frames) and (frames[place].function or "").startswith(reporter):
        place += 1
    if place == 0 or place + 1 >= len(frames) or not _LIBC.match(frames[place].library or ""):
        return None
    inner = frames[place + 1]
    for frame in frames[place + 1 :]:
        if frame.library != inner.library:
            break
        if frame.function:
            return inner, frame.function
    return inner, None


def caller(frames: Sequence[Called]) -> Called | None:
    """Return who called the C library last."""
    return next((frame for frame in frames if frame.library and not _LIBC.match(frame.library)), None)
