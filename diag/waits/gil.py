"""The interpreter's global lock: who waits for it, who has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import Actor, How
from diag.waits.scene import asked_at, at

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Recognise a wait for the GIL, of which a thread sleeps at most 5 ms at a time."""
    if not is_gil_waiter(scene):
        return None
    if made := gil_wait(scene):
        return made
    words = f"waits for the GIL, which was free a moment later{at(scene.stack)}"
    return scene.wait("gil", str(scene.process.pid), words, How.TIMED, name=f"GIL of pid {scene.process.pid}")


def is_gil_waiter(scene: Scene) -> bool:
    """Whether the thread slept on the lock of its interpreter when it was seen."""
    return (scene.process.pid, scene.thread.tid) in scene.around.gil_waiters


def gil_wait(scene: Scene) -> Wait | None:
    """Build the wait for the GIL of this process; None when no other thread has it."""
    pid = scene.process.pid
    owner = next(
        (
            stack
            for (other, tid), stack in scene.around.stacks.items()
            if other == pid and stack.owns_gil and tid != scene.thread.tid
        ),
        None,
    )
    if owner is None:
        return None
    holder = Actor(
        pid=pid,
        started=scene.process.started,
        process=scene.process.name,
        tid=owner.tid,
        thread=owner.thread,
        container_pid=scene.process.container_pid,
        where=asked_at(owner),
    )
    name = f"{owner.thread} ({owner.tid})" if owner.thread else str(owner.tid)
    words = f"waits for the GIL held by thread {name}{at(scene.stack)}"
    # Who has the GIL changes every few milliseconds: this is a moment, not a verdict.
    return scene.wait("gil", str(pid), words, How.TIMED, name=f"GIL of pid {pid}", held_by=(holder,))
