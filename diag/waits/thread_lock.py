"""Threads of one process that wait for each other: joins what each wants with what the others hold. Pure.

The kernel knows only the futex word: two threads on one word wait for one lock. Who has a plain Lock,
nothing in memory tells; it is the thread whose frames stand between its taking and its release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import Handler, Hold, How, Resource, Wait
from diag.waits.lock_sites import Releases, handler_between, unguarded
from diag.waits.python_locks import Primitive, last_word
from diag.waits.python_locks.held import is_threading
from diag.waits.scene import actor, at, time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diag.model.facts import Process, Stack, Thread
    from diag.model.graph import Actor
    from diag.model.io import Asked
    from diag.waits.python_locks import Held, Name, Wanted


NOBODY = 0
"""Stands for an owner that is no thread of its process."""


class Member(NamedTuple):
    """One thread of the process, with what its stack and source tell."""

    process: Process
    thread: Thread
    stack: Stack
    held: tuple[Held, ...]
    wait: Wait  # as the links made it
    word: int | None = None  # the futex it sleeps in
    wanted: Wanted | None = None
    asked: Asked | None = None
    frees: frozenset[str] = frozenset()  # locks that its functions release and do not take, by last word
    releases: Releases = Releases()  # how the wanted lock comes to be released

    @property
    def actor(self) -> Actor:
        """Name it for the report."""
        return actor(self.process, self.thread, self.stack)


class Owner(NamedTuple):
    """A thread that holds what another wants."""

    member: Member
    held: Held | None
    certain: bool
    why: str


class Scenery(NamedTuple):
    """The threads of one process, and what its memory told of the objects their frames name."""

    members: Sequence[Member]
    words: Mapping[Name, frozenset[int]]  # where a thread sleeps that wants the lock a name leads to
    owners: Mapping[int, int]  # such a word -> tid of the lock's owner; 0: no thread of this process
    parked: Mapping[int, frozenset[int]]  # futex word of a sleeping thread -> all that stands for its lock
    parent: Actor | None = None  # the process that this one was forked from, where that is proven
    dark: frozenset[tuple[int, int]] = frozenset()  # (thread id, frame) that hold what memory cannot name
    locked: frozenset[int] = frozenset()  # the words of the locks that are taken, as memory says
    complete: bool = False  # the stacks of all threads that run Python are here, with their sources

    def own(self, member: Member) -> frozenset[int]:
        """What stands for the lock that a thread sleeps for."""
        return self.parked.get(member.word or 0, frozenset({member.word or 0}))


def link(scenery: Scenery) -> dict[int, Wait]:
    """Return the better known waits of the threads of one process, by thread id."""
    found = {}
    for member in scenery.members:
        if member.wanted is not None and member.word is not None:
            wait = _link(member, member.wanted, scenery)
            found[member.thread.tid] = replace(wait, waiter=member.actor)
    return found


def _link(member: Member, wanted: Wanted, scenery: Scenery) -> Wait:
    if wanted.primitive is Primitive.LOCK:
        return _lock(member, wanted, scenery)
    if wanted.primitive is Primitive.THREAD:
        return _join(member, wanted, scenery)
    if wanted.primitive is Primitive.CALL and (wait := _copied(member, wanted, scenery)):
        return wait
    return _notification(member, wanted)


def _copied(member: Member, wanted: Wanted, scenery: Scenery) -> Wait | None:
    """A function in C of the only thread of a forked process: nobody here can end what it waits for."""
    resource = _resource(member, "thread-lock", f"a lock or a signal inside {wanted.expression}")
    hold = _left_locked(member, wanted, scenery, resource)
    return _waits_for_copy(member, wanted, resource, hold) if hold else None


def _waits_for_copy(member: Member, wanted: Wanted, resource: Resource, hold: Hold) -> Wait:
    tail = f"{time_limit(member.asked)}{at(member.stack)}"
    return replace(
        member.wait,
        resource=resource,
        where=wanted.where,
        words=f"waits for {resource.name}, which was locked already when its process was forked{tail}",
        holds=(hold,),
        certain=True,
        evidence=(*member.wait.evidence, *hold.evidence),
    )


def _lock(member: Member, wanted: Wanted, scenery: Scenery) -> Wait:
    imports = member.stack.frames[0].file.startswith("<frozen importlib")
    kind, what = ("module-lock", "the import lock of") if imports else ("thread-lock", "the lock")
    expression = wanted.expression.removeprefix("import ")
    resource = _resource(member, kind, f"{what} {expression}" if expression else "a lock")
    owner = _owner(member, wanted, scenery)
    words = f"waits for {resource.name}"
    wait = replace(member.wait, resource=resource, where=wanted.where, words=words, holds=(), certain=True)
    tail = f"{time_limit(member.asked)}{at(member.stack)}"
    if owner is None:
        if hold := _left_locked(member, wanted, scenery, resource):
            return _waits_for_copy(member, wanted, resource, hold)
        if hold := _abandoned(member, wanted, scenery, resource):
            evidence = (*wait.evidence, *hold.evidence)
            return replace(
                wait, words=f"{words}, which was never released{tail}", holds=(hold,), evidence=evidence
            )
        # A thread whose whole work is a lock's acquire() waits for a sign, and so does threading itself.
        if member.releases.handed_over or is_threading(member.stack.frames[wanted.frame]):
            signal = _resource(member, "gate", resource.name.partition(" of pid ")[0])
            return replace(wait, resource=signal, words=f"{words}, which another function releases{tail}")
        return replace(wait, words=f"{words}{tail}")
    hold = _hold(owner, resource)
    if owner.member.thread.tid == member.thread.tid:
        wait = replace(
            wait,
            retaken=hold.taken_at,
            handler=_handler(member, owner),
            words=f"{words}, which it holds{tail}",
        )
    else:
        wait = replace(wait, words=f"{words} held by {_named(owner.member)}{tail}")
    return replace(wait, holds=(hold,), evidence=(*wait.evidence, *hold.evidence))


def _left_locked(member: Member, wanted: Wanted, scenery: Scenery, resource: Resource) -> Hold | None:
    """A lock that was copied by fork while a thread of the parent held it: that thread is not here."""
    if scenery.parent is None or any(_inside(member, wanted, scenery)) or scenery.dark:
        return None
    pid = member.process.pid
    source, certain = f"py-spy dump --locals --pid {pid}", False
    if any(scenery.owners.get(word) == NOBODY for word in scenery.own(member)):
        source, certain = f"/proc/{pid}/mem", True
        why = "the lock names an owner that is no thread of this process"
    elif wanted.by_with:
        why = "no thread of this process stands inside the lock, which is taken and released by with"
    elif member.process.threads == 1:
        why = "the only thread of this process does not stand inside the lock"
    else:
        return None
    why += f"; its memory is a copy of that of pid {scenery.parent.pid} (the same /proc/PID/auxv)"
    return Hold(
        holder=actor(member.process),
        resource=resource,
        taker=scenery.parent.pid,
        inherited=True,
        certain=certain,
        evidence=(Evidence(source=source, text=why),),
    )


def _abandoned(member: Member, wanted: Wanted, scenery: Scenery, resource: Resource) -> Hold | None:
    """A lock that is taken while nobody stands inside it: an exception or a return went past its release.

    An RLock names its owner, which is no thread any more. Of a plain Lock it follows from the source, where
    all that its file does with it is to take and release it in one function.
    """
    own = scenery.own(member)
    if scenery.parent is not None or resource.kind != "thread-lock" or any(_inside(member, wanted, scenery)):
        return None
    leaks = member.releases.leaks
    certain = any(scenery.owners.get(word) == NOBODY for word in own)
    if certain:
        why = "the lock names an owner that is no thread of this process"
    elif leaks and scenery.complete and not scenery.dark and own & scenery.locked:
        why = f"the lock is taken and no thread stands inside it; {unguarded(leaks)}"
    else:
        return None
    return Hold(
        holder=actor(member.process),
        resource=resource,
        taken_at=leaks[0] if len(leaks) == 1 else None,
        abandoned=True,
        certain=certain,
        evidence=(Evidence(source=f"/proc/{member.process.pid}/mem", text=why),),
    )


def _resource(member: Member, kind: str, name: str) -> Resource:
    pid = member.process.pid
    return Resource(kind=kind, key=f"{kind}:{pid}:{member.word:x}", name=f"{name} of pid {pid}")


def _named(member: Member) -> str:
    name = member.stack.thread or ""
    return f"thread {name} ({member.thread.tid})" if name else f"thread {member.thread.tid}"


def _owner(member: Member, wanted: Wanted, scenery: Scenery) -> Owner | None:
    """Find who has the lock: by memory, else the one thread whose frames stand inside it."""
    found = list(_inside(member, wanted, scenery))
    owner = next((scenery.owners[word] for word in scenery.own(member) if word in scenery.owners), None)
    if owner == NOBODY:
        return None
    if owner is not None:
        by_memory = next((each for each in scenery.members if each.thread.tid == owner), None)
        if by_memory is None:
            return None
        line = next((each.held for each in found if each.member is by_memory), None)
        return Owner(by_memory, line, True, "the lock itself names it as its owner")
    sure = [each for each in found if each.certain]
    tids = {each.member.thread.tid for each in sure or found}
    # Two threads inside one lock cannot be: the source does not say enough to blame either.
    one = (sure or found)[0] if len(tids) == 1 else None
    return None if one and one.member is member and _is_signal(one, scenery) else one


def _is_signal(owner: Owner, scenery: Scenery) -> bool:
    """Whether a lock that a call took may be released by another thread, or in a handler: it is no guard."""
    if owner.held is None or owner.held.site.how != "call":
        return False
    if owner.member.releases.handed_over and _handler(owner.member, owner) is None:
        return True  # a signal handler may run on top of the waiting thread, and then its frames show
    name = last_word(owner.held.site.target)
    return any(name in other.frees for other in scenery.members if other is not owner.member)


def _inside(member: Member, wanted: Wanted, scenery: Scenery) -> Iterator[Owner]:
    """Yield each statement, of any thread, that holds the wanted lock at this moment."""
    own = scenery.own(member)
    for other in scenery.members:
        for held in other.held:
            if held.name is None or (other is member and held.frame < wanted.frame):
                continue
            if other is member and held.frame == wanted.frame and held.site.where.line == wanted.where.line:
                continue  # "with lock: work()": it is being entered, and up to 3.10 its __exit__ lies there
            words = scenery.words.get(held.name)
            where = f"{held.site.where}, holds {held.site.expression}"
            if words is not None:
                if common := words & own:
                    yield Owner(other, held, True, f"{where}: its futex is the same, {min(common):#x}")
            elif held.name in wanted.names:
                yield Owner(other, held, False, f"{where}: {_same(held.name)}")


def _same(name: Name) -> str:
    kind, base, path = name
    if kind == "object":
        return f"the object at {base:#x}"
    if kind == "attribute":
        return f"attribute {path} of the object at {base:#x}"
    return f"the variable {path} of {base}"


def _hold(owner: Owner, resource: Resource) -> Hold:
    member, held = owner.member, owner.held
    source = f"py-spy dump --locals --pid {member.process.pid}"
    return Hold(
        holder=member.actor,
        resource=resource,
        taken_at=held.site.where if held else None,
        since=member.process.since,
        certain=owner.certain,
        evidence=(Evidence(source=source, text=f"{_named(member)}: {owner.why}"),),
    )


def _handler(member: Member, owner: Owner) -> Handler | None:
    """What interrupted the thread between taking the lock and asking for it again."""
    if owner.held is None:
        return None
    between = handler_between(member.stack, owner.held.frame, 0)
    if between is None:
        return None
    name = f"{between.name} handler" if between.kind == "signal" else between.kind
    return Handler(name=name, where=between.where)


def _join(member: Member, wanted: Wanted, scenery: Scenery) -> Wait:
    """A thread to end: the one whose outermost frames run the same Thread object."""
    joined = [other for other in scenery.members if _thread_object(other.stack) == wanted.subject]
    other = joined[0] if wanted.subject is not None and len(joined) == 1 else None
    name = f"{_named(other)} to end" if other else "a thread to end"
    resource = _resource(member, "thread", name)
    words = f"waits for {name}{time_limit(member.asked)}{at(member.stack)}"
    holds = (Hold(holder=other.actor, resource=resource),) if other else ()
    return replace(member.wait, resource=resource, words=words, where=wanted.where, holds=holds)


def _thread_object(stack: Stack) -> int | None:
    """The address of the Thread object that a thread runs: self of its outermost frame."""
    if not stack.frames or "bootstrap" not in stack.frames[-1].function:
        return None
    return next((local.address for local in stack.frames[-1].locals if local.name == "self"), None)


_WORDS = {
    Primitive.CONDITION: "a condition to be notified",
    Primitive.EVENT: "an event to be set",
    Primitive.SEMAPHORE: "a semaphore to be released",
    Primitive.BARRIER: "others to come to a barrier",
    Primitive.QUEUE: "something to be put into a queue",
    Primitive.FULL_QUEUE: "room in a full queue",
    Primitive.QUEUE_JOIN: "all work of a queue to be done",
    Primitive.FUTURE: "the result of a future",
    Primitive.FUTURES: "futures to be done",
    Primitive.RESULT: "a result of a pool",
    Primitive.WORK: "work for its pool",
    Primitive.CALL: "a lock or a signal in its own process",
}
_IDLE = (Primitive.QUEUE, Primitive.WORK)


def _notification(member: Member, wanted: Wanted) -> Wait:
    """Something that any other thread may do: who will, nothing tells."""
    name = _WORDS[wanted.primitive]
    is_call = wanted.primitive in (Primitive.CALL, Primitive.QUEUE)
    through = f" in {wanted.expression}" if is_call and wanted.expression else ""
    subject = f"{wanted.subject:x}" if wanted.subject is not None else f"word-{member.word:x}"
    resource = Resource(
        kind=wanted.primitive.value, key=f"{wanted.primitive.value}:{member.process.pid}:{subject}", name=name
    )
    how = How.IDLE if wanted.primitive in _IDLE and member.wait.how is How.BLOCKED else member.wait.how
    idle = "idle: " if how is How.IDLE else ""
    words = f"{idle}waits for {name}{through}{time_limit(member.asked)}{at(member.stack)}"
    return replace(member.wait, resource=resource, how=how, words=words, where=wanted.where)
