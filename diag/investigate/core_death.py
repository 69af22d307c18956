"""What ended the process of a core, and traces of what was at work before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import core_fault, disassembly, maps
from diag.investigate import core_damage
from diag.rules import core_causes, core_suspects

if TYPE_CHECKING:
    from diag.collectors.native_stacks import Natives
    from diag.collectors.pyobjects import PyObjects
    from diag.host import CoreView
    from diag.model.core import CoreImage
    from diag.model.snapshot import Snapshot


class Death:
    """Looks at once for what needs no C frames: others read these meanwhile."""

    def __init__(self, view: CoreView, image: CoreImage) -> None:
        self._view, self._image = view, image
        self._maps = maps.collect(view, image.pid)
        self._damage = core_damage.collect(view, image, self._maps)
        disassembly.load()

    def told(self, snapshot: Snapshot, natives: Natives, objects: PyObjects | None) -> Snapshot:
        """Add fault, damage and suspects."""
        fault = core_fault.collect(self._view, self._image, self._maps, natives.frames, objects)
        if fault is None:
            return snapshot
        snapshot = replace(snapshot, fault=fault, damage=self._damage)
        told = core_causes.cause(snapshot)
        if objects and self._damage and told in core_causes.OF_DAMAGE:
            deeply = core_causes.is_open(snapshot, fault)
            damage = core_damage.traced(self._view, objects, self._damage, fault.tid, deeply=deeply)
            snapshot = replace(snapshot, damage=damage)
        return replace(snapshot, suspects=core_suspects.rank(snapshot))
