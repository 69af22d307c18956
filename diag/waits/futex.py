"""Threads that wait for a lock or a signal inside their own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits.scene import how_long, is_library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.facts import Frame
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

_CALLS = ("futex", "futex_wait", "futex_waitv")
_PRIVATE = 0x80  # FUTEX_PRIVATE_FLAG: no other process can wake it


_SHARED = {
    ("threading.py", "_wait"): "others to come to a barrier that processes share",
    ("queues.py", "join"): "all work of a queue that processes share to be done",
}
"""What the frames around a multiprocessing Condition's wait() stand for."""
_AROUND = 4


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
        what = _shared(frames)
    words = scene.phrase(f"waits for {what}")
    return scene.wait("futex", key, words, how_long(scene.asked), name=f"futex {address:#x}")


def _shared(frames: Sequence[Frame]) -> str:
    """Name what a thread waits for that other processes may give: by the library's own frames alone."""
    ran = [frame for frame in frames if not frame.native]
    names = [(frame.file.rpartition("/")[2], frame.function.rpartition(".")[2]) for frame in ran]
    if names[:1] != [("synchronize.py", "wait")]:
        return "a lock or semaphore that processes share"
    around = (name for frame, name in zip(ran, names, strict=True) if is_library(frame))
    found = (_SHARED[name] for name in [*around][1:_AROUND] if name in _SHARED)
    return next(found, "a condition or event that processes share to be notified")
