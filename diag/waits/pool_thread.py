"""Threads and processes that serve a pool, while there is nothing to do: they end nobody's wait."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from diag.model.graph import How, Wait
from diag.waits.other_end import of_pipe

if TYPE_CHECKING:
    from diag.model.facts import Frame
    from diag.waits.scene import Scene

_SERVES = {
    "concurrent/futures/process.py": ("wait_result_broken_or_wakeup", "_queue_management_worker"),
    "multiprocessing/pool.py": (
        "_handle_workers",
        "_wait_for_updates",
        "_handle_results",
        "_help_stuff_finish",
    ),
}
"""Library functions in which the process that has a pool waits for its workers."""
_WORKS = {"concurrent/futures/process.py": "_process_worker", "multiprocessing/pool.py": "worker"}
"""Library functions in which a worker takes the next piece of work, and does it."""
_CALLS = frozenset({"read", "poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait"})


def link(scene: Scene) -> Wait | None:
    """Say that a thread waits for its pool to have work, or for results, as it should."""
    frames = [frame for frame in scene.stack.frames if not frame.native] if scene.stack else []
    if scene.call not in _CALLS:
        return None
    if serves(frames):
        words = "idle: waits for the workers of its pool"
    elif takes_work(frames) and _has_parent(scene):
        words = "idle: waits for work for its pool"
    else:
        return None
    key = f"{scene.process.pid}/{scene.thread.tid}"
    return scene.wait("pool-work", key, f"{words}{_at(frames)}", How.IDLE, name="work for its pool")


def serves(frames: list[Frame]) -> bool:
    """Whether a thread does nothing but wait for the workers of a pool: no frame of the user's in between."""
    for frame in frames:
        names = _SERVES.get(_library(frame))
        if names and _name(frame) in names:
            return True
        if not _is_waiting(frame):
            return False
    return False


def takes_work(frames: list[Frame]) -> bool:
    """Whether a worker process stands in the get() of its pool's queue."""
    for inner, outer in pairwise(frames):
        if _WORKS.get(_library(outer)) == _name(outer):
            return _library(inner) == "multiprocessing/queues.py" and _name(inner) == "get"
        if not _is_waiting(inner):
            return False
    return False


def working(frames: tuple[Frame, ...]) -> Frame | None:
    """The frame of a worker's main loop while it does a piece of work; None while it has none."""
    plain = [frame for frame in frames if not frame.native]
    frame = next((frame for frame in plain if _WORKS.get(_library(frame)) == _name(frame)), None)
    if frame is None or takes_work(plain):
        return None
    return frame


def is_worker(frames: tuple[Frame, ...]) -> bool:
    """Whether a thread is in the main loop of a pool's worker."""
    return any(_WORKS.get(_library(frame)) == _name(frame) for frame in frames)


def _has_parent(scene: Scene) -> bool:
    """Whether its parent has the other end of the pipe: an orphan waits for ever for nobody."""
    file = scene.file
    if scene.call != "read" or file is None:
        return False
    return any(holder.pid == scene.process.ppid for holder in of_pipe(scene, file, writes=False).holders)


def _is_waiting(frame: Frame) -> bool:
    library = _library(frame)
    return library.startswith("multiprocessing/") or frame.file.endswith(("/selectors.py", "/threading.py"))


def _library(frame: Frame) -> str:
    """The last two or three parts of a library's path: "multiprocessing/pool.py"."""
    for name in ("concurrent/futures/", "multiprocessing/"):
        _, found, file = frame.file.rpartition(f"/{name}")
        if found and "/" not in file:
            return name + file
    return ""


def _name(frame: Frame) -> str:
    return frame.function.rpartition(".")[2]


def _at(frames: list[Frame]) -> str:
    own = next((frame for frame in frames if _library(frame)), None)
    return f", {own.file.rpartition('/')[2]}:{own.line} in {own.function}" if own else ""
