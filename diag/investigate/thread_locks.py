"""Who among the threads of one process waits for whom: stacks, sources and memory put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import native_lock as native_locks
from diag.investigate import forked, future_waits, old_imports, pool_waits, shared_locks
from diag.investigate.lock_memory import LockMemory
from diag.waits import native_lock, thread_lock
from diag.waits.python_locks import Primitive, held_by, wanted
from diag.waits.thread_lock import Member, Scenery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.investigate.inquiry import Inquiry
    from diag.model.graph import Actor, Wait
    from diag.model.io import Asked
    from diag.model.snapshot import SeenThread
    from diag.waits.python_locks.held import Held
    from diag.waits.python_locks.wanted import Wanted

    ThreadId = tuple[int, int]

_RESULTS = frozenset({Primitive.FUTURE, Primitive.RESULT})
_FUTEX = ("futex", "futex_wait")


def refine(
    inquiry: Inquiry, threads: Iterable[SeenThread], asked: Mapping[ThreadId, Asked]
) -> list[SeenThread]:
    """Say of every thread that sleeps for a lock of its own process which one it is, and who has it."""
    by_process: dict[int, list[SeenThread]] = {}
    for seen in threads:
        by_process.setdefault(seen.process.pid, []).append(seen)
    return [seen for group in by_process.values() for seen in _refine(inquiry, group, asked)]


def _refine(
    inquiry: Inquiry, group: list[SeenThread], asked: Mapping[ThreadId, Asked]
) -> Iterable[SeenThread]:
    if any(seen.wait and seen.wait.resource.kind == "gil" for seen in old_imports.suspects(group)):
        group = _with_old_imports(inquiry, group)
    if not any(map(_word, group)):
        return group
    parent = forked.parent_of(inquiry, group[0].process)
    waits = shared_locks.link(inquiry, group) or _native(inquiry, group, parent)
    # A lock of Python's own is never shared with another process, so fork can not have copied such a one.
    left = [
        seen
        for seen in group
        if _word(seen) and seen.thread.tid not in waits and not shared_locks.is_shared(seen)
    ]
    members = [member for seen in left if (member := _member(inquiry, seen, asked)) and member.wanted]
    if members:
        waits.update(_python(inquiry, group, members, asked, parent))
    return [replace(seen, wait=waits.get(seen.thread.tid, seen.wait)) for seen in group]


def _with_old_imports(inquiry: Inquiry, group: list[SeenThread]) -> list[SeenThread]:
    """Python 2 waits for imports as it waits for the GIL: on a lock of the interpreter's own."""
    objects = LockMemory(inquiry, group[0].process.pid).objects
    if objects is None or objects.version >= (3, 3):
        return group
    waits = old_imports.link(group, objects)
    return [replace(seen, wait=waits.get(seen.thread.tid, seen.wait)) for seen in group]


def _native(inquiry: Inquiry, group: list[SeenThread], parent: Actor | None) -> dict[int, Wait]:
    """The waits for locks of the C library, which know their owners."""
    by_tid = {seen.thread.tid: seen for seen in group}
    idents = {seen.stack.ident: seen.thread.tid for seen in group if seen.stack and seen.stack.ident}
    threads = native_lock.Threads(by_tid, idents, parent)
    found = {}
    for seen in group:
        if _word(seen) is None:
            continue
        lock = native_locks.collect(inquiry.host, seen.thread, frozenset(by_tid))
        wait = native_lock.link(seen, lock, threads) if lock else None
        if wait is not None:
            found[seen.thread.tid] = wait
    return found


def _python(
    inquiry: Inquiry,
    group: list[SeenThread],
    waiting: list[Member],
    asked: Mapping[ThreadId, Asked],
    parent: Actor | None,
) -> dict[int, Wait]:
    """The waits for locks, threads, futures and notifications of Python."""
    kinds = {member.wanted.primitive for member in waiting if member.wanted}
    members = waiting
    if kinds & {Primitive.LOCK, Primitive.THREAD, *_RESULTS}:
        holds = Primitive.LOCK in kinds
        members = [member for seen in group if (member := _member(inquiry, seen, asked, holds=holds))]
    memory = None
    if kinds & {Primitive.LOCK, *_RESULTS}:
        memory = LockMemory(inquiry, group[0].process.pid)
    waits = thread_lock.link(_scenery(members, waiting, memory, parent))
    if memory is not None and memory.objects is not None and kinds & _RESULTS:
        waits.update(future_waits.link(members, waits, memory.objects))
        waits.update(pool_waits.link(inquiry, members, waits, memory.objects, parent))
    return waits


def _scenery(
    members: list[Member], waiting: list[Member], memory: LockMemory | None, parent: Actor | None
) -> Scenery:
    """Add what memory says of every lock that these threads want or may hold."""
    wanting = [member for member in waiting if member.wanted and member.wanted.primitive is Primitive.LOCK]
    if not wanting or memory is None:
        return Scenery(members, {}, {}, {}, parent)
    names = {name for member in wanting if member.wanted for name in member.wanted.names}
    names.update(held.name for member in members for held in member.held if held.name)
    known = {name: lock for name in sorted(names, key=str) if (lock := memory.lock(name))}
    return Scenery(
        members=members,
        words={name: frozenset(lock.futex_words) for name, lock in known.items() if lock.futex_words},
        owners=memory.owners(known.values(), [member.stack for member in members]),
        parked={member.word: memory.slept_on(member.word) for member in wanting if member.word},
        parent=parent,
    )


def _word(seen: SeenThread) -> int | None:
    """The futex word that a thread sleeps on."""
    call = seen.thread.syscall
    if call is None or call.name not in _FUTEX or seen.wait is None or seen.wait.resource.kind != "futex":
        return None
    return call.arguments[0]


def _is_asked(want: Wanted, held: Held) -> bool:
    """Whether a statement seems to hold what it only asks for: ``with lock: body`` on one line."""
    same_line = (held.frame, held.site.where.line) == (want.frame, want.where.line)
    return same_line and held.name in want.names


def _member(
    inquiry: Inquiry, seen: SeenThread, asked: Mapping[ThreadId, Asked], *, holds: bool = False
) -> Member | None:
    """One thread with what its frames want, and (``holds``) what they hold."""
    if seen.stack is None or seen.wait is None:
        return None
    word = _word(seen)
    sources = inquiry.sources(seen.stack) if word is not None or holds else {}
    want = wanted(seen.stack, sources) if word is not None else None
    held = held_by(seen.stack, sources) if holds else ()
    return Member(
        process=seen.process,
        thread=seen.thread,
        stack=seen.stack,
        held=tuple(one for one in held if not (want and _is_asked(want, one))),
        wait=seen.wait,
        word=word,
        wanted=want,
        asked=asked.get((seen.process.pid, seen.thread.tid)),
    )
