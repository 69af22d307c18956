"""Looks in a core for traces of what was at work before the fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import library_uses, past_calls
from diag.collectors.native_names import Names
from diag.collectors.pyobjects.image import version_named
from diag.collectors.pyobjects.memory import Memory
from diag.model.damage import Damage, Freed
from diag.rules import core_code
from diag.rules.known import extensions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.maps import Mapping
    from diag.collectors.pyobjects import PyObjects
    from diag.host import CoreView, WrongLink
    from diag.model.core import CoreImage
    from diag.model.snapshot import SeenThread

MOST_LIBRARIES = 64
"""Files whose tables are read; measured: 2 ms each."""


def collect(view: CoreView, image: CoreImage, maps: Sequence[Mapping]) -> Damage | None:
    """Look at each third-party library of a process that runs Python; None where none runs."""
    if not any(core_code.is_interpreter_file(module.path) for module in image.modules):
        return None
    code = [one for one in maps if "x" in one.access and one.path]
    places = past_calls.Places(
        libraries=tuple((one.start, one.end, one.path) for one in code if core_code.is_extension(one.path)),
        interpreter=tuple((one.start, one.end) for one in code if core_code.is_interpreter_file(one.path)),
    )
    readable = [one.path for one in image.modules if one.executable and one.now in ("same", "unknown")]
    asked = [path for path in dict.fromkeys(readable) if core_code.is_extension(path)][:MOST_LIBRARIES]
    memory = Memory(view, image.pid)
    versions = [entry.told for entry in extensions.ENTRIES]
    return Damage(
        python=version_named(maps),
        past=tuple(past_calls.collect(view, image, memory, maps, places, Names.of(view, image))),
        uses=tuple(found for path in asked if (found := library_uses.collect(view, path, versions))),
    )


def freed(view: CoreView, objects: PyObjects, threads: Sequence[SeenThread]) -> tuple[Freed, ...]:
    """Look for objects that were freed while somebody had them, or twice; ``threads``: who died first.

    What variables lead to is looked at first: it takes the least time, and tells most.
    """
    from diag.collectors.pyobjects import free_lists, reached  # noqa: PLC0415 - load only when used

    if found := reached.freed(objects, _variables(objects, threads)):
        return tuple(found)
    if blocks := tuple(_of_block(one) for one in view.free_blocks().found):
        return blocks[: free_lists.MOST]
    return tuple(free_lists.check(objects))


def _variables(objects: PyObjects, threads: Sequence[SeenThread]) -> Iterator[tuple[str, int]]:
    """Yield each variable: those of functions at work, then those of the program itself."""
    for seen in threads:
        for frame in seen.stack.frames if seen.stack else ():
            place = f"{frame.function} ({frame.file.rpartition('/')[2]}:{frame.line})"
            for local in frame.locals:
                if local.address:
                    yield f"the variable {local.name} of {place}", local.address
    for name, address in objects.module("__main__").items():
        yield f"the variable {name} of __main__", address


def _of_block(link: WrongLink) -> Freed:
    """Say what is wrong with a free block: whoever counts references to what was there moves its link."""
    where = f"the free blocks of {link.size} bytes"
    if link.why == "twice":
        text = "the same block is among them twice: it was freed twice"
        return Freed(where=where, address=link.link, text=text)
    text = f"the free block leads to {link.link:#x}, which is none: it was written to after it was freed"
    return Freed(where=where, address=link.block, text=text, proves=False)
