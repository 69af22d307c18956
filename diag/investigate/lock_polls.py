"""Threads that try again and again for each other's locks, and keep their own: they wait for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate import poll_looks
from diag.model.graph import How
from diag.waits.lock_sites import asking
from diag.waits.lock_sites.places import is_stdlib
from diag.waits.lock_sites.retrying import endless_tries, loops_around
from diag.waits.python_locks import Primitive, Wanted, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_memory import LockMemory
    from diag.model.facts import Stack
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenThread
    from diag.model.source import Source
    from diag.waits.thread_lock import Member

_FEW = 3
"""Frames inside of the loop: the sleep, or the lock's own method."""


def may_poll(seen: SeenThread) -> bool:
    """Whether a thread sleeps for a time and runs Python: perhaps between two tries for a lock."""
    wait = seen.wait
    return wait is not None and seen.stack is not None and wait.resource.kind == "sleep"


def wanted(stack: Stack, sources: Mapping[str, Source]) -> Wanted | None:
    """Tell which lock a thread tries for that sleeps between two tries in an endless loop."""
    ask = asking(stack, sources)
    if ask is None or ask.how != "polling" or ask.lock == "file" or _loop(stack, sources, ask.asker) is None:
        return None
    name = name_of(stack.frames[ask.asker], ask.target)
    if name is None:
        return None
    return Wanted(Primitive.LOCK, ask.where, ask.target, frozenset([name]), None, ask.asker)


def with_word(member: Member, memory: LockMemory) -> Member:
    """Add the address at which a lock would be waited for; who tries for what is no lock wants nothing."""
    if member.word is not None or member.wanted is None:
        return member
    locks = [lock for name in member.wanted.names if (lock := memory.lock(name))]
    words = {word for lock in locks if lock.kind in ("lock", "rlock") for word in lock.futex_words}
    return member._replace(word=min(words)) if words else member._replace(wanted=None)


def mark(inquiry: Inquiry, members: Iterable[Member], waits: Mapping[int, Wait]) -> dict[int, Wait]:
    """Tell the waits that go round with such a loop among them; others with a time limit prove nothing.

    Who sleeps between two tries and is in no ring keeps the wait it had.
    """
    endless = {
        member.thread.tid
        for member in members
        if member.wanted
        and not member.releases.handed_over
        and (wait := waits.get(member.thread.tid))
        and wait.how is How.TIMED
        and wait.holds
        and _keeps_trying(inquiry, member)
    }
    behind = {
        tid: hold.holder.tid
        for tid, wait in waits.items()
        if tid in endless or wait.how is How.BLOCKED
        for hold in wait.holds[:1]
        if hold.holder.tid and not hold.abandoned and not hold.inherited
    }
    sleeping = {member.thread.tid for member in members if member.wait.resource.kind == "sleep"}
    found = {tid: wait for tid, wait in waits.items() if tid not in sleeping}
    for tid in endless:
        if _is_in_ring(tid, behind):
            wait = waits[tid]
            words = wait.words.replace("waits for", "tries again and again for", 1)
            found[tid] = replace(wait, how=How.POLLING, words=words, certain=False)
    return found


def again(inquiry: Inquiry, threads: Sequence[SeenThread]) -> tuple[SeenThread, ...]:
    """Look a second time: such a wait is stuck while its thread is in the same loop."""
    return poll_looks.again(inquiry, threads, _is_poll, _stays)


def _is_poll(seen: SeenThread) -> bool:
    wait = seen.wait
    return wait is not None and wait.how is How.POLLING and wait.resource.kind == "thread-lock"


def _loop(stack: Stack, sources: Mapping[str, Source], asker: int) -> int | None:
    """The index of the frame that runs the loop, up to the one that asks."""
    for n, frame in enumerate(stack.frames[: asker + 1]):
        if frame.native or is_stdlib(frame.file):
            continue
        if endless_tries(frame, sources.get(frame.file)) is not None:
            return n
    return None


def _keeps_trying(inquiry: Inquiry, member: Member) -> bool:
    """Whether a thread tries until it has the lock, and took all it holds before the loop began."""
    assert member.wanted
    loop = _loop(member.stack, inquiry.sources(member.stack), member.wanted.frame)
    return loop is not None and all(held.frame >= loop for held in member.held)


def _is_in_ring(tid: int, behind: Mapping[int, int]) -> bool:
    """Whether who follows the holders from a thread comes back to it, past another."""
    path = [tid]
    while (following := behind.get(path[-1])) is not None and following not in path:
        path.append(following)
    return len(path) > 1 and behind.get(path[-1]) == tid


def _stays(inquiry: Inquiry, seen: SeenThread, stack: Stack) -> bool:
    where = seen.wait.where if seen.wait else None
    if where is None or seen.stack is None:
        return False
    sources = inquiry.sources(stack)
    then = {
        (frame.file, frame.function): loops_around(frame, sources.get(frame.file))
        for frame in seen.stack.frames[:_FEW]
    }
    return any(
        then.get((frame.file, frame.function), frozenset()) & loops_around(frame, sources.get(frame.file))
        for frame in stack.frames[:_FEW]
    )
