"""Threads that wait for locks of the C library: in one process, or in memory that several share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import native_lock as collector
from diag.collectors import process as processes
from diag.investigate import shared_locks
from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits import native_lock
from diag.waits.scene import asked_at, at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.graph import Actor, Wait
    from diag.model.native import NativeLock
    from diag.model.snapshot import SeenThread

_FUTEX = ("futex", "futex_wait")
_OWNED = ("mutex", "rwlock")


def link(inquiry: Inquiry, group: Sequence[SeenThread], parent: Actor | None) -> dict[int, Wait]:
    """Return the waits of the threads of one process that sleep in such locks, by thread id."""
    by_tid = {seen.thread.tid: seen for seen in group}
    idents = {seen.stack.ident: seen.thread.tid for seen in group if seen.stack and seen.stack.ident}
    threads = native_lock.Threads(by_tid, idents, parent)
    found = {}
    for seen in group:
        if not seen.thread.syscall or seen.thread.syscall.name not in _FUTEX or not _is_futex(seen):
            continue
        lock = collector.collect(inquiry.host, seen.thread, frozenset(by_tid))
        wait = _link(inquiry, seen, lock, threads) if lock else None
        if wait is not None:
            found[seen.thread.tid] = wait
    return found


def _is_futex(seen: SeenThread) -> bool:
    return seen.wait is not None and seen.wait.resource.kind == "futex"


def _link(inquiry: Inquiry, seen: SeenThread, lock: NativeLock, threads: native_lock.Threads) -> Wait | None:
    mapping = shared_locks.mapping(inquiry, seen.process.pid, lock.address) if lock.shared else None
    if mapping is None:
        return native_lock.link(seen, lock, threads)
    if lock.kind == "semaphore":
        return shared_locks.signal(inquiry, seen, "a semaphore that processes share")
    # The owner's number is one of the pid namespace that it lives in.
    if lock.kind not in _OWNED or lock.owner_tid is None or seen.process.container_pid is not None:
        return None
    return _shared(inquiry, seen, lock, mapping)


def _shared(inquiry: Inquiry, seen: SeenThread, lock: NativeLock, mapping: str) -> Wait | None:
    """A lock in shared memory: its owner is a thread of any process that has this memory, or is dead."""
    assert seen.wait is not None
    assert lock.owner_tid is not None
    place = shared_locks.offset(inquiry, seen.process.pid, lock.address)
    noun = native_lock.NAMES[lock.kind].removeprefix("the ")
    name = f"the {noun} that processes share in {mapping.partition(' (')[0]} at {place:#x}"
    resource = Resource(kind="shared-lock", key=f"shared-lock:{mapping}:{place:x}", name=name)
    pid = processes.owner_of_thread(inquiry.host, lock.owner_tid)
    owner = inquiry.process(pid) if pid else None
    if owner and not shared_locks.may_read(inquiry, owner.pid):
        return None  # nobody can tell whether it has this memory
    lives = owner is not None and mapping in shared_locks.mappings(inquiry, owner.pid)
    text = f"{lock.kind} at {lock.address:#x}: owner {lock.owner_tid}"
    evidence = Evidence(
        source=f"/proc/{seen.process.pid}/mem",
        text=text if lives else f"{text}, which is no thread of a process that has this memory",
    )
    holds: tuple[Hold, ...] = ()
    if lives and owner:
        tid = lock.owner_tid
        stack = next((one for one in inquiry.stacks(owner.pid) if one.tid == tid), None)
        holder = inquiry.actor(owner.pid, tid, asked_at(stack))
        holds = (Hold(holder=holder, resource=resource, since=owner.since, evidence=(evidence,)),)
    held = f" held by pid {pid}" if lives else ", whose owner has died"
    return replace(
        seen.wait,
        resource=resource,
        words=f"waits for {name}{held}{at(seen.stack)}",
        holds=holds,
        evidence=(*seen.wait.evidence, evidence),
    )
