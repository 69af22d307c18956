"""Threads that wait for nothing: they run, or would if a CPU were free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.gil import gil_wait, is_gil_waiter
from diag.waits.scene import asked_at

if TYPE_CHECKING:
    from diag.model.facts import Stack
    from diag.model.graph import Wait
    from diag.waits.scene import Scene


def link(scene: Scene) -> Wait | None:
    """Say what a running thread runs."""
    thread, stack = scene.thread, scene.stack
    if is_gil_waiter(scene) and stack is not None and stack.owns_gil:
        return scene.wait("cpu", "cpu", _words(stack), How.RUNNING, name="nothing: it runs")  # it got it
    if thread.state != "R" and (thread.syscall is not None or thread.wchan is not None):
        return None
    if thread.state not in "RS" or (thread.state == "S" and not _awake(stack)):
        return None
    if stack is not None and not stack.owns_gil and not stack.active and (made := gil_wait(scene)):
        return made  # it woke for a moment to ask for the GIL: every 5 ms
    return scene.wait("cpu", "cpu", _words(stack), How.RUNNING, name="nothing: it runs")


def _awake(stack: Stack | None) -> bool:
    return stack is not None and (stack.owns_gil or stack.active)


def _words(stack: Stack | None) -> str:
    where = asked_at(stack)
    if stack is None or where is None:
        return "runs"
    innermost = stack.frames[0]
    place = f"{innermost.function} ({innermost.file.rpartition('/')[2]}:{innermost.line})"
    doing = "runs Python" if stack.owns_gil else "runs native code called by"
    called = "" if (where.file, where.line) == (innermost.file, innermost.line) else f", {where}"
    return f"{doing}: {place}{called}" if stack.owns_gil else f"{doing} {place}{called}"
