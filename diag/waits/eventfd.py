"""Threads that wait for somebody to add to an eventfd, or to take from a full one (eventfd(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits.other_end import of_eventfd
from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Say which eventfd, and who else has it."""
    asked, file = scene.asked, scene.file
    if asked is None or file is None or file.kind != "eventfd" or scene.call not in ("read", "write"):
        return None  # who polls one is an event loop: its own threads wake it
    end = of_eventfd(scene, file)
    verb = "add to the full" if asked.writes else "be woken by"
    return scene.wait(
        "eventfd",
        end.key,
        scene.phrase(f"waits to {verb} {end.name}{end.who}"),
        how_long(asked),
        name=end.name,
        mode="write" if asked.writes else "read",
        held_by=end.holders,
        certain=end.sure,
    )
