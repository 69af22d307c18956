"""Who among the threads of one process waits for whom: stacks, sources and memory put together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate import (
    context_managers,
    forked,
    future_waits,
    live_frames,
    lock_polls,
    native_locks,
    old_imports,
    pool_waits,
    shared_locks,
)
from diag.investigate.lock_memory import LockMemory
from diag.waits import thread_lock, thread_semaphore
from diag.waits.lock_sites import Releases, asking, releases
from diag.waits.lock_sites.places import is_stdlib
from diag.waits.python_locks import Primitive, freed_by, held_by, wanted
from diag.waits.python_locks.names import is_plain
from diag.waits.thread_lock import Member, Scenery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.graph import Actor, Wait
    from diag.model.io import Asked
    from diag.model.snapshot import SeenThread
    from diag.model.source import Source
    from diag.waits.python_locks import Name
    from diag.waits.python_locks.held import Held
    from diag.waits.python_locks.wanted import Wanted

    ThreadId = tuple[int, int]

_RESULTS = frozenset({Primitive.FUTURE, Primitive.FUTURES, Primitive.RESULT})
_HELD = frozenset({Primitive.LOCK, Primitive.CALL, Primitive.SEMAPHORE})
"""What somebody may hold, or what may turn out to be so."""
_GREEN = re.compile(r"/(?:gevent|eventlet)/")
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
    if not any(map(_word, group)) and not sum(map(lock_polls.may_poll, group)) > 1:
        return group
    parent = forked.parent_of(inquiry, group[0].process)
    waits = shared_locks.link(inquiry, group) or native_locks.link(inquiry, group, parent)
    # A lock of Python's own is never shared with another process, so fork can not have copied such a one.
    left = [
        seen
        for seen in group
        if (_word(seen) and seen.thread.tid not in waits and not shared_locks.is_shared(seen))
        or lock_polls.may_poll(seen)
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
    memory = None
    if kinds & (_HELD | _RESULTS):
        memory = LockMemory(inquiry, group[0].process.pid)
    if memory is not None and kinds & _HELD:
        found = (lock_polls.with_word(each, memory) for each in _with_holds(inquiry, group, asked, memory))
        members = [_of_call(member, memory) for member in found]
        waiting = [member for member in members if member.wanted]
    elif kinds & {Primitive.THREAD, *_RESULTS}:
        members = [member for seen in group if (member := _member(inquiry, seen, asked))]
    scenery = _scenery(members, waiting, memory, parent)
    waits = thread_lock.link(scenery._replace(complete=_is_complete(inquiry, group)))
    waits = lock_polls.mark(inquiry, members, waits)
    if memory is not None and Primitive.SEMAPHORE in kinds:
        seen_all = _is_complete(inquiry, group) and not any(_dark(members, memory)) and parent is None
        waits.update(
            thread_semaphore.link(
                members, waits, memory.address, memory.places, memory.free_places, may_be_leaked=seen_all
            )
        )
    if memory is not None and memory.objects is not None and kinds & _RESULTS:
        waits.update(future_waits.link(members, waits, memory.objects))
        waits.update(pool_waits.link(inquiry, members, waits, memory.objects, parent))
    return waits


def _of_call(member: Member, memory: LockMemory) -> Member:
    """Tell what a method in C waits for, where memory knows whose it is: a queue, or a lock after all."""
    wanted = member.wanted
    if wanted is None or not member.word:
        return member
    if wanted.primitive is Primitive.LOCK and member.stack.at_exit:
        joined = memory.joined(member.word)
        return member._replace(wanted=wanted._replace(primitive=Primitive.THREAD, subject=joined))
    if wanted.primitive is not Primitive.CALL:
        return member
    method = wanted.expression.partition("(")[0].rpartition(".")[2]
    for address in (one for name in wanted.names for one in memory.behind(name, method)):
        name: Name = ("object", address, "")
        lock = memory.lock(name)
        if lock is None or not memory.slept_on(member.word).intersection(lock.futex_words):
            continue
        if lock.kind == "simple-queue":
            called = f"{lock.type}.get"
            wanted = wanted._replace(primitive=Primitive.QUEUE, subject=address, expression=called)
        elif lock.kind in ("lock", "rlock"):
            wanted = wanted._replace(primitive=Primitive.LOCK, names=frozenset([name]))
    return member._replace(wanted=wanted)


def _with_holds(
    inquiry: Inquiry, group: list[SeenThread], asked: Mapping[ThreadId, Asked], memory: LockMemory
) -> list[Member]:
    """All threads with what they hold: by the source, and by what memory says of those who hold or want."""
    members = {
        member.thread.tid: (seen, member)
        for seen in group
        if (member := _member(inquiry, seen, asked, holds=True))
    }
    telling = [member.stack for _, member in members.values() if member.held or member.wanted]
    better = live_frames.add(inquiry, group[0].process.pid, telling)
    found = []
    for seen, member in members.values():
        stack = better.get(member.stack.ident)
        again = _member(inquiry, replace(seen, stack=stack), asked, holds=True) if stack else None
        one = again or member
        held = context_managers.resolve(inquiry, memory, one.held)
        found.append(one._replace(held=tuple(each for each in held if not _is_asked(one, each, memory))))
    return found


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
        dark=frozenset(_dark(members, memory)),
        locked=frozenset(word for lock in known.values() if lock.locked for word in lock.futex_words),
    )


def _dark(members: list[Member], memory: LockMemory) -> Iterator[tuple[int, int]]:
    """Yield the frames that hold something which memory, though it can be read, does not lead to."""
    for member in members if memory.objects is not None else ():
        for held in member.held:
            if held.name is None or memory.address(held.name) is None:
                yield member.thread.tid, held.frame


def _is_complete(inquiry: Inquiry, group: list[SeenThread]) -> bool:
    """Whether the source of every Python frame of a process could be read, as it was when it was loaded."""
    for stack in [seen.stack for seen in group if seen.stack]:
        sources = inquiry.sources(stack)
        files = {
            frame.file for frame in stack.frames if not frame.native and not frame.file.startswith("<frozen")
        }
        if any(file not in sources or sources[file].changed for file in files):
            return False
        if any(_GREEN.search(file) for file in files):
            return False  # a greenlet that is suspended has no stack here
    return True


def _word(seen: SeenThread) -> int | None:
    """The futex word that a thread sleeps on."""
    call = seen.thread.syscall
    if call is None or call.name not in _FUTEX or seen.wait is None or seen.wait.resource.kind != "futex":
        return None
    return call.arguments[0]


def _is_asked(member: Member, held: Held, memory: LockMemory) -> bool:
    """Whether a statement seems to hold what it only asks for: ``with lock: body`` on one line."""
    want = member.wanted
    if want is None or (held.frame, held.site.where.line) != (want.frame, want.where.line):
        return False
    lock = memory.lock(held.name) if held.name else None
    slept_on = memory.slept_on(member.word) if member.word else frozenset()
    return held.name in want.names or (lock is not None and bool(slept_on.intersection(lock.futex_words)))


def _releases(want: Wanted, stack: Stack, sources: Mapping[str, Source]) -> Releases:
    """How the lock or semaphore that a thread wants comes to be released."""
    if want.primitive is Primitive.SEMAPHORE:
        ask = asking(replace(stack, frames=stack.frames[want.frame + 1 :]), sources, blocked=True)
        source = sources.get(ask.where.file) if ask else None
        if ask is None or source is None or not is_plain(ask.target):
            return Releases()
        return releases(source, ask.target, ask.where.line)
    source = sources.get(want.where.file)
    paths = [path for _, _, path in sorted(want.names, key=str) if path]
    lock = want.expression if is_plain(want.expression) else next(iter(paths), "")
    if source is None or not lock or want.primitive is not Primitive.LOCK or is_stdlib(source.file):
        return Releases()  # the standard library has locks that one function takes as a sign for another
    return releases(source, lock, want.where.line)


def _member(
    inquiry: Inquiry, seen: SeenThread, asked: Mapping[ThreadId, Asked], *, holds: bool = False
) -> Member | None:
    """One thread with what its frames want, and (``holds``) what they hold."""
    if seen.stack is None or seen.wait is None:
        return None
    word = _word(seen)
    polls = word is None and lock_polls.may_poll(seen)
    sources = inquiry.sources(seen.stack) if word is not None or holds or polls else {}
    if polls:
        want = lock_polls.wanted(seen.stack, sources)
    else:
        want = wanted(seen.stack, sources) if word is not None else None
    held = held_by(seen.stack, sources) if holds else ()
    return Member(
        process=seen.process,
        thread=seen.thread,
        stack=seen.stack,
        held=held,
        wait=seen.wait,
        word=word,
        wanted=want,
        asked=asked.get((seen.process.pid, seen.thread.tid)),
        frees=freed_by(seen.stack, sources) if holds else frozenset(),
        releases=_releases(want, seen.stack, sources) if want else Releases(),
    )
