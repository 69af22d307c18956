"""Threads that wait for a lock or a signal inside their own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits.scene import how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

_CALLS = ("futex", "futex_wait", "futex_waitv")
_PRIVATE = 0x80  # FUTEX_PRIVATE_FLAG: no other process can wake it


def link(scene: Scene) -> Wait | None:
    """Say what the Python line wants; who has the lock, the kernel does not know."""
    if scene.call not in _CALLS:
        return None
    address, operation = scene.argument[:2]
    private = bool(operation & _PRIVATE) or scene.call != "futex"
    key = f"{scene.process.pid}:{address:x}" if private else f"shared:{address:x}"
    frames = scene.stack.frames if scene.stack else ()
    what = "a lock" if frames else "a lock or a signal in its own process (futex)"
    if not private:
        what = "a lock or semaphore that processes share"
    words = scene.phrase(f"waits for {what}")
    return scene.wait("futex", key, words, how_long(scene.asked), name=f"futex {address:#x}")
