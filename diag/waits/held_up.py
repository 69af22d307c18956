"""Threads that do not go on because somebody stopped, traced or froze them, or because they ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How, Wait
from diag.waits.scene import Scene, actor, at

if TYPE_CHECKING:
    from diag.model.graph import Actor


def link(scene: Scene) -> Wait | None:
    """Say who or what keeps the thread from running at all."""
    process, thread = scene.process, scene.thread
    if thread.state in "ZX":
        return _ended(scene)
    if thread.state == "t":
        return _traced(scene)
    if thread.state == "T":
        words = f"stopped by a signal (SIGSTOP, SIGTSTP …), until SIGCONT{at(scene.stack)}"
        return scene.wait("stopped", str(process.pid), words, How.BLOCKED, name="SIGCONT")
    if process.frozen:
        words = f"frozen with its cgroup{at(scene.stack)}"
        key = process.cgroup or str(process.pid)
        return scene.wait("frozen", key, words, How.BLOCKED, name="its cgroup to be thawed", path=key)
    return None


def _ended(scene: Scene) -> Wait:
    process = scene.process
    if scene.thread.tid != process.pid or process.threads > 1:
        words = "has ended; other threads of its process go on"
        return scene.wait("ended", f"{process.pid}/{scene.thread.tid}", words, How.BLOCKED)
    named, holders = _named(scene, process.ppid)
    words = f"has ended; its parent, {named}, has not collected it"
    name = f"wait() by {named}"
    return scene.wait("collect", str(process.pid), words, How.BLOCKED, name=name, held_by=holders)


def _traced(scene: Scene) -> Wait:
    tracer = scene.process.tracer
    named, holders = _named(scene, tracer) if tracer is not None else ("a debugger", ())
    words = f"stopped by its tracer, {named}{at(scene.stack)}"
    return scene.wait(
        "traced", str(scene.process.pid), words, How.BLOCKED, name=f"tracer {named}", held_by=holders
    )


def _named(scene: Scene, pid: int) -> tuple[str, tuple[Actor, ...]]:
    known = scene.around.processes.get(pid)
    return (f"pid {pid} ({known.name})", (actor(known),)) if known else (f"pid {pid}", ())
