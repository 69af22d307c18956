"""Threads that wait for a lock of the C library: who has it, the lock itself says. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits.scene import actor, at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.graph import Actor, Wait
    from diag.model.native import NativeLock
    from diag.model.snapshot import SeenThread

NAMES = {
    "mutex": "the pthread mutex",
    "rwlock": "the pthread read-write lock",
    "stdio": "the lock of a stdio stream",
    "low-level": "the C library's internal lock",
}
"""Kinds of lock whose owner is known."""
_SIGNALS = {"condition": "a condition variable", "semaphore": "a semaphore or barrier"}
"""Kinds that any other thread may give."""


class Threads(NamedTuple):
    """The threads of one process, and the process it was forked from where that can be proven."""

    by_tid: Mapping[int, SeenThread]
    by_ident: Mapping[int, int]  # pthread_self -> tid
    parent: Actor | None


def link(seen: SeenThread, lock: NativeLock, threads: Threads) -> Wait | None:
    """Join a thread with the owner of what it sleeps for; None for kinds that name no owner."""
    if seen.wait is None:
        return None
    owner = lock.owner_tid
    if lock.kind == "stdio" and lock.owner_ident is not None:
        owner = threads.by_ident.get(lock.owner_ident, 0)
    if lock.kind == "join" and owner:
        return _join(seen, owner, threads)
    if lock.kind in _SIGNALS and not (seen.stack and seen.stack.frames):
        name = f"{_SIGNALS[lock.kind]} at {lock.address:#x}"
        resource = _resource(seen, lock, "native-signal", name)
        return replace(seen.wait, resource=resource, words=f"waits for {name}")
    is_read = lock.kind == "rwlock" and lock.mode == "read"
    if lock.kind not in NAMES or (owner is None and not is_read):
        return None
    resource = _resource(seen, lock, "native-lock", f"{NAMES[lock.kind]} at {lock.address:#x}")
    if owner is None:
        words = f"waits for {resource.name}, which is taken for reading{at(seen.stack)}"
        return replace(seen.wait, resource=resource, words=words, holds=())
    hold = _hold(seen, lock, owner, resource, threads)
    words = f"waits for {resource.name}{at(seen.stack)}"
    if hold is None:
        return replace(seen.wait, resource=resource, words=words, holds=())
    if hold.abandoned:
        words = f"waits for {resource.name}, whose owner, thread {owner}, has ended{at(seen.stack)}"
    elif hold.inherited:
        words = f"waits for {resource.name}, whose owner, thread {owner}, does not exist here{at(seen.stack)}"
    elif hold.holder.tid == seen.thread.tid:
        words = f"waits for {resource.name}, which it holds itself{at(seen.stack)}"
    else:
        words = f"waits for {resource.name} held by thread {hold.holder.tid}{at(seen.stack)}"
    return replace(
        seen.wait,
        resource=resource,
        words=words,
        holds=(hold,),
        evidence=(*seen.wait.evidence, *hold.evidence),
    )


def _resource(seen: SeenThread, lock: NativeLock, kind: str, name: str) -> Resource:
    pid = seen.process.pid
    return Resource(kind=kind, key=f"{kind}:{pid}:{lock.address:x}", name=f"{name} of pid {pid}")


def _hold(
    seen: SeenThread, lock: NativeLock, owner: int, resource: Resource, threads: Threads
) -> Hold | None:
    text = f"{lock.kind} at {lock.address:#x}: owner {owner or f'{lock.owner_ident:#x}'}"
    evidence = (Evidence(source=f"/proc/{seen.process.pid}/mem", text=text),)
    other = threads.by_tid.get(owner)
    if other is not None:
        holder = actor(other.process, other.thread, other.stack)
        return Hold(holder=holder, resource=resource, since=seen.process.since, evidence=evidence)
    if threads.parent is None and not lock.shared and owner > seen.process.pid and lock.kind == "mutex":
        # Numbers of threads grow: one of a process that this was forked from would be smaller.
        holder = replace(actor(seen.process), where=None)
        return Hold(holder=holder, resource=resource, abandoned=True, evidence=evidence)
    if lock.shared or threads.parent is None:
        return None  # a thread of another process, or one that has ended
    return Hold(
        holder=actor(seen.process),
        resource=resource,
        taker=threads.parent.pid,
        inherited=True,
        evidence=evidence,
    )


def _join(seen: SeenThread, owner: int, threads: Threads) -> Wait | None:
    assert seen.wait is not None
    other = threads.by_tid.get(owner)
    if other is None:
        return None
    holder = actor(other.process, other.thread, other.stack)
    resource = Resource(
        kind="thread",
        key=f"thread:{seen.process.pid}:{owner}",
        name=f"thread {owner} to end of pid {seen.process.pid}",
    )
    words = f"waits for thread {owner} to end{at(seen.stack)}"
    return replace(seen.wait, resource=resource, words=words, holds=(Hold(holder=holder, resource=resource),))
