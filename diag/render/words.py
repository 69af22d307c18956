"""Words that several sections of the terminal report share. All text is escaped here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.render.escape import plain

if TYPE_CHECKING:
    from diag.model.facts import Where
    from diag.model.graph import Actor


def person(actor: Actor) -> str:
    """Name a process or thread: ``pid 12 (app)``, ``pid 12 (app), thread worker-1``."""
    if actor.address is not None:
        return f"client {plain(actor.address)}"
    name = f"pid {actor.pid} ({plain(actor.process) or 'gone'})"
    if actor.container_pid:
        name += f" [pid {actor.container_pid} in its container]"
    if actor.task:
        return f"{name}, {plain(actor.task)}"
    if actor.tid is None or actor.tid == actor.pid:
        return name
    # A thread that nobody named has the name of its process: its number tells more.
    own = actor.thread if actor.thread != actor.process else None
    return f"{name}, thread {plain(own or '') or actor.tid}"


def place(where: Where) -> str:
    """Name a line of code: ``app.py:12 in work``."""
    return plain(str(where))


def age(seconds: float) -> str:
    """Write a span of time: ``45 s``, ``12 min``, ``3.5 h``, ``9 days``."""
    for unit, size, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= size * least:
            value = seconds / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{max(seconds, 0):.0f} s"
