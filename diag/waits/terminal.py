"""Threads that wait for input at a terminal, or for whoever shows it to take what they write (pty(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.other_end import of_terminal
from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

_TRANSFERS = ("read", "write", "readv", "writev")


def link(scene: Scene) -> Wait | None:
    """Say which terminal, and who has its other side."""
    asked, file = scene.asked, scene.file
    if (
        asked is None
        or file is None
        or file.kind != "terminal"
        or not file.inode
        or scene.call not in _TRANSFERS
    ):
        return None
    end = of_terminal(scene, file)
    typed = file.inode > 0 and not asked.writes
    verb = (
        "waits to write to" if asked.writes else "idle: waits for input at" if typed else "waits to read from"
    )
    return scene.wait(
        "pty",
        end.key,
        scene.phrase(f"{verb} {end.name}{end.who}"),
        How.IDLE if typed else how_long(asked),
        name=end.name,
        path=end.path,
        mode="write" if asked.writes else "read",
        held_by=() if typed else end.holders,
        certain=end.sure,
    )
