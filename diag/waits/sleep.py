"""Threads that sleep until a time, or until a signal comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.graph import How
from diag.waits.scene import asked_through, at, seconds

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.model.io import Asked
    from diag.waits.scene import Scene

_SLEEPS = ("nanosleep", "clock_nanosleep")
_SIGNALS = ("pause", "rt_sigsuspend", "rt_sigtimedwait")
_ON_NOTHING = ("select", "pselect6", "poll", "ppoll")  # without descriptors they are sleeps


def link(scene: Scene) -> Wait | None:
    """Say how long a thread sleeps."""
    thread, asked = scene.thread, scene.asked
    where = f"{asked_through(scene.stack)}{at(scene.stack)}"
    key = f"{thread.pid}/{thread.tid}"
    if scene.call in _SIGNALS:
        return scene.wait("signal", key, f"waits for a signal{where}", How.IDLE, name="a signal")
    sleeps = scene.call in _SLEEPS or (scene.call in _ON_NOTHING and asked and not _watches(scene))
    if not sleeps or asked is None:
        return None
    if scene.call in _ON_NOTHING and asked.limit is None:
        return scene.wait("signal", key, f"waits for a signal{where}", How.IDLE, name="a signal")
    return scene.wait("sleep", key, f"sleeps{_time(asked)}{where}", How.TIMED, name="time to pass")


def _watches(scene: Scene) -> bool:
    """Whether a select or poll has descriptors to watch: by its arguments, its memory may be hidden."""
    if scene.asked and scene.asked.fds:
        return True
    if scene.call in ("poll", "ppoll"):
        return scene.argument[1] > 0
    return scene.argument[0] > 0 and any(scene.argument[1:4])


def _time(asked: Asked) -> str:
    if asked.left is not None:
        return f", {seconds(max(asked.left, 0.0))} left"
    return f" for {seconds(asked.limit)}" if asked.limit is not None else ""
