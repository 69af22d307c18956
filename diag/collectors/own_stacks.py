"""The C frames of a core by diag's own unwinder (host/core/unwind.py), with names from the symbol tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.collectors.elf import Code, Image
from diag.errors import MalformedError
from diag.model.facts import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diag.host import CoreView, Unwound
    from diag.model.core import CoreImage, CoreModule

    Stacks = dict[int, tuple[Frame, ...]]
    Place = tuple[int, int]  # address of a frame, and the one by which its function is told; 0: a signal's

SIGNAL_FRAME = "<signal handler called>"


MOST_LINES = 40
"""Addresses whose lines are looked up; measured: 10 to 80 ms each in a large program."""
MOST_CLOSE = 6
LARGEST_DEBUG = 16 << 20
"""Bytes of debugging information that are looked through for lines."""
_OTHERS = re.compile(r"ld-|libffi\b|libc[.-]|libm[.-]|libpthread|libpython\d|(?:python|pypy)[\d.]*[a-z]*$")
"""Files of which only the functions are told: nobody looks for a mistake in them."""


def collect(
    view: CoreView,
    image: CoreImage,
    at: Callable[[int], str | None],
    *,
    closely: bool = False,
    lines: bool = True,
) -> Stacks | None:
    """Return the frames of all threads; None where the tables lead to no end for one of them.

    ``at`` tells the file that is mapped at an address; ``closely``: also what was inlined into the innermost
    frames of the first thread, the one that died; ``lines``: the lines of programs and libraries.
    """
    unwound = view.unwound()
    if not unwound or len(unwound) < len(image.threads) or not all(one.whole for one in unwound):
        return None
    close = frozenset(list(_places(unwound[0]))[:MOST_CLOSE]) if closely else frozenset()
    places = dict.fromkeys(place for one in unwound for place in _places(one))
    frames = _described(view, image, places, at, close, MOST_LINES if lines else 0)
    return {one.tid: tuple(frame for place in _places(one) for frame in frames[place]) for one in unwound}


def _places(one: Unwound) -> Iterator[Place]:
    """A return address may already belong to the next function, where the called one never returns."""
    for number, address in enumerate(one.frames):
        if number in one.signals:
            yield address, 0
        else:
            interrupted = number == 0 or number - 1 in one.signals
            yield address, address - (not interrupted)


def _described(
    view: CoreView,
    image: CoreImage,
    places: Iterable[Place],
    at: Callable[[int], str | None],
    close: frozenset[Place],
    left: int,
) -> dict[Place, tuple[Frame, ...]]:
    """Describe each place by one frame, or by more: those of functions that were inlined into it."""
    modules = {one.path: one for one in image.modules}
    by_file: dict[str, list[Place]] = {}
    frames: dict[Place, tuple[Frame, ...]] = {}
    for place in places:
        if not place[1]:
            frames[place] = (Frame(function=SIGNAL_FRAME, file="", line=0, native=True),)
            continue
        path = at(place[1])
        frames[place] = (_frame("?", path, place[0]),)
        if path in modules:
            by_file.setdefault(path, []).append(place)
    for path, those in by_file.items():
        found = _Functions.of(view, modules[path])
        names = found.names([place[1] for place in those]) if found else {}
        for place in those:
            name = names.get(place[1], "?")
            frames[place] = (_frame(name, path, place[0]),)
            if found and (found.has_lines or (place in close and found.has_debug)) and left:
                left -= 1
                frames[place] = found.inlined(place, name)
    return frames


def _frame(function: str, path: str | None, address: int, file: str = "", line: int = 0) -> Frame:
    return Frame(
        function=function, file=file or path or "", line=line, native=True, library=path, address=address
    )


class _Functions:
    """The functions of one file, by addresses of the process."""

    def __init__(self, module: CoreModule, code: Code, image: Image) -> None:
        self._path, self._code = module.path, code
        loads = (one.address - one.offset for one in image.segments if one.type == "PT_LOAD")
        self._base = module.start - min(loads, default=0)
        debug = image.section(".debug_info")
        self.has_debug = debug is not None
        small = debug is not None and debug.size <= LARGEST_DEBUG
        self.has_lines = small and not _OTHERS.match(module.name)

    @classmethod
    def of(cls, view: CoreView, module: CoreModule) -> _Functions | None:
        """Open the file; None where it is another one now, or cannot be read."""
        if module.now not in ("same", "unknown"):
            return None
        try:
            image = Image.open(view, module.path)
        except (MalformedError, OSError):
            return None
        return cls(module, Code(view, image), image)

    def names(self, addresses: Sequence[int]) -> dict[int, str]:
        """Name functions by the symbol tables."""
        found = self._code.names([address - self._base for address in addresses])
        # glibc names its own functions twice, once for calls from inside.
        return {address + self._base: name.removeprefix("__GI_") for address, name in found.items()}

    def inlined(self, place: Place, name: str) -> tuple[Frame, ...]:
        """The frames of one place with their line, by the debugging information."""
        line = self._code.at(place[1] - self._base).line
        if line is None:
            return (_frame(name, self._path, place[0]),)
        inner = line.function or name
        around = tuple(_frame(outer, self._path, place[0]) for outer in line.inlined_into)
        return (_frame(inner, self._path, place[0], line.file, line.line), *around)
