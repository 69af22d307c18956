"""Looks in a core for traces of what was at work before the fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import library_uses, past_calls
from diag.collectors.native_names import Names
from diag.collectors.pyobjects.image import version_named
from diag.collectors.pyobjects.memory import Memory
from diag.model.damage import Damage
from diag.rules import core_code
from diag.rules.known import extensions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.maps import Mapping
    from diag.host import CoreView
    from diag.model.core import CoreImage

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
