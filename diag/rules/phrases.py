"""Words that several rules share, so that the same thing is always said the same way."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.facts import Where
    from diag.model.graph import Actor, Resource, Wait


def who(actor: Actor) -> str:
    """Name a process, and its thread where that is not the main one: ``pid 12 (app, thread worker-1)``."""
    if actor.address is not None:
        return f"client {actor.address}"
    thread = ""
    own = actor.thread if actor.thread != actor.process else None  # unnamed: it has the process's name
    if actor.tid is not None and actor.tid != actor.pid:
        thread = f", thread {own or actor.tid}"
    inside = f", pid {actor.container_pid} in its container" if actor.container_pid else ""
    name = actor.process or "already gone"
    return f"pid {actor.pid} ({name}{thread}{inside})"


def thread(actor: Actor) -> str:
    """Name a thread of a process that is named already: ``thread worker-1 (12)``."""
    if actor.task:
        return f"{actor.task_kind} {actor.task}"
    if actor.tid == actor.pid:
        return "the main thread"
    named = f" {actor.thread}" if actor.thread and actor.thread != actor.process else ""
    return f"thread{named} ({actor.tid})"


def at(where: Where | None) -> str:
    """Write a place with a leading space: `` at app.py:78``; nothing where it is unknown."""
    return f" at {where.file.rpartition('/')[2]}:{where.line}" if where else ""


def waiting(count: int) -> str:
    """Count those who wait: "1 other waits", "3 others wait"."""
    return "1 other waits" if count == 1 else f"{count} others wait"


def also(resources: Sequence[Resource]) -> str:
    """Mention more locks of the same holder: " (and 2 more locks)"; nothing where there is none."""
    if not resources:
        return ""
    return f" (and {resources[0].name})" if len(resources) == 1 else f" (and {len(resources)} more locks)"


def does(words: str) -> str:
    """Make what a thread does fit behind "which" or "while it": "idle: epoll" becomes "is idle: epoll"."""
    return f"is {words}" if words.startswith(("idle", "stopped", "frozen")) else words


def others(actors: Sequence[Actor]) -> str:
    """Name a few of many: ``pids 5, 6, 7 and 12 more``."""
    return pids(list(dict.fromkeys(actor.pid for actor in actors)))


def pids(numbers: Sequence[int]) -> str:
    """Name a few of many processes by number."""
    shown = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"pid{'s' if len(numbers) > 1 else ''} {shown}{more}"


def hop(wait: Wait) -> str:
    """Say what a thread waits for and where: one step of a chain in words."""
    if wait.resource.kind in ("file-lock", "soft-lock"):
        return f"{verb(wait)} the {wait.resource.name}{at(wait.where)}"
    for short, long in (("recv from ", "waits to receive from "), ("send to ", "waits to send to ")):
        if wait.words.startswith(short):
            return long + wait.words.removeprefix(short)
    return wait.words  # names its place itself


def verb(wait: Wait) -> str:
    """Say how it waits: "polls for" or "waits for"."""
    return "polls for" if wait.how.value == "polling" else "waits for"


def kill_advice(actor: Actor, lock: Resource) -> str:
    """Say how to end the holder of a lock, and what that costs."""
    return (
        f"kill -KILL {actor.pid} ends {actor.process or 'it'}{', and' if removal(lock) else ' and'}"
        f"{removal(lock)} frees the lock: "
        "its work in progress is lost, and a handler for SIGTERM would not run"
    )


def removal(lock: Resource) -> str:
    """Say with a leading space what frees a lock by existence beyond its owner's end; else nothing."""
    return f" rm {quote(lock.path)}" if lock.kind == "soft-lock" and lock.path else ""


def check_lock(resource: Resource) -> tuple[str, ...]:
    """Commands that show a lock by hand."""
    shown = [f"grep ':{resource.inode} ' /proc/locks"] if resource.inode else []
    if resource.path:
        shown.append(f"{'ls -l' if resource.kind == 'soft-lock' else 'lsof'} {quote(resource.path)}")
    return tuple(shown)


def check_stack(*pids: int) -> tuple[str, ...]:
    """Commands that show stacks by hand."""
    return tuple(f"py-spy dump --locals --pid {pid}" for pid in dict.fromkeys(pids) if pid > 0)


def quote(path: str) -> str:
    """Quote a path for a shell."""
    return shlex.quote(path)
