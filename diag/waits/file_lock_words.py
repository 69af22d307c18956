"""Threads that wait for a file lock: the wait itself was linked with all locks of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.file_lock import blocked_in

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Take the wait that the lock tables gave; without one, say what the system call asks for."""
    if known := scene.around.file_locks.get((scene.process.pid, scene.thread.tid)):
        return known
    blocked = blocked_in(scene.thread.syscall) if scene.thread.syscall else None
    if blocked is None:
        return None
    kind, fd = blocked
    path = scene.file.target if scene.file else None
    named = f"{kind} on {path}" if path else f"{kind} on descriptor {fd}"
    words = scene.phrase(f"waits for {named}")
    key = f"{scene.file.device}:{scene.file.inode}" if scene.file else f"{scene.process.pid}:{fd}"
    return scene.wait("file-lock", key, words, How.BLOCKED, name=named, path=path)
