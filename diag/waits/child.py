"""Threads that wait for a child process to end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.scene import actor, asked_through, at

if TYPE_CHECKING:
    from diag.model.facts import Process
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

_MOST = 3  # children named in words
_SPAWNS = ("vfork", "clone", "clone3")
_FORKS = re.compile("clone|fork")  # kernel_clone, _do_fork, wait_for_vfork_done: kernel/fork.c


def link(scene: Scene) -> Wait | None:
    """Say which child is waited for."""
    asked, around = scene.asked, scene.around
    if asked is None or scene.call not in ("wait4", "waitid"):
        return None
    children = [process for process in around.processes.values() if process.ppid == scene.process.pid]
    wanted = asked.child
    if wanted is None and scene.file is not None and scene.file.refers is not None:
        wanted = scene.file.refers  # waitid(P_PIDFD)
    where = f"{asked_through(scene.stack)}{at(scene.stack)}"
    if wanted is not None and wanted > 0:
        # The argument is a number of the target's own pid namespace.
        child = next(
            (child for child in children if wanted in (child.container_pid or child.pid, child.pid)), None
        )
        named = _named(child) if child else f"pid {wanted}"
        words = f"waits for its child {named} to end{where}"
        key = str(child.pid if child else wanted)
        held_by = (actor(child),) if child else ()
        return scene.wait("child", key, words, How.BLOCKED, name=f"child {named}", held_by=held_by)
    if len(children) == 1:
        words = f"waits for its child {_named(children[0])} to end{where}"
    elif not children:
        words = f"waits for any child to end{where}"
    else:
        some = ", ".join(_named(child) for child in children[:_MOST])
        more = f" and {len(children) - _MOST} more" if len(children) > _MOST else ""
        words = f"waits for any of its {len(children)} children to end: {some}{more}{where}"
    # Any of several would do: none of them alone stands in the way.
    needed = tuple(map(actor, children)) if len(children) == 1 else ()
    key = f"of {scene.process.pid}"
    return scene.wait("child", key, words, How.BLOCKED, name="any child", held_by=needed)


def link_vfork(scene: Scene) -> Wait | None:
    """Say which new child has not executed its program yet: vfork(2), as subprocess uses it."""
    thread = scene.thread
    if thread.state != "D" or scene.call not in _SPAWNS or not _FORKS.search(thread.wchan or "clone"):
        return None
    children = [process for process in scene.around.processes.values() if process.ppid == scene.process.pid]
    child = max(children, key=lambda process: (process.started, process.pid), default=None)
    named = f"its new child {_named(child)}" if child else "a new child"
    words = f"waits for {named} to execute a program{asked_through(scene.stack)}{at(scene.stack)}"
    return scene.wait(
        "child",
        f"vfork:{child.pid if child else scene.process.pid}",
        words,
        How.BLOCKED,
        name=f"exec of {named}",
        held_by=(actor(child),) if child else (),
        certain=len(children) == 1,
    )


def _named(process: Process) -> str:
    ended = ", has ended" if process.state in "ZX" else ""
    return f"{process.pid} ({process.name}{ended})"
