"""The rest: threads that sleep in the kernel in a way no other file here knows, or that can not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Name the system call and the kernel function, as far as they may be seen."""
    thread, file = scene.thread, scene.file
    key = f"{thread.pid}/{thread.tid}"
    if thread.syscall is None and thread.wchan is None:
        words = scene.phrase("sleeps in the kernel; in what, diag may not see")
        return scene.wait("unknown", key, words, How.BLOCKED, name="unknown", certain=False)
    number = thread.syscall.number if thread.syscall else -1
    call = scene.call or (f"system call {number}" if number >= 0 else "the kernel")
    of = f" of {file.target}" if file else ""
    inside = f" ({thread.wchan})" if thread.wchan else ""
    words = scene.phrase(f"waits in {call}{of}{inside}")
    path = file.target if file and file.kind == "file" else None
    return scene.wait("syscall", key, words, how_long(scene.asked), name=f"{call}{of}", path=path)
