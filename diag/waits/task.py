"""Tasks and greenlets that wait for each other: joins what each wants with what the others hold. Pure.

One thread runs many of them in turn. Each has a stack of its own while it waits, so that the same
holds as for threads: who has a lock is the one whose frames stand between its taking and its release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import Hold, How, Resource, Wait
from diag.waits.lock_sites import Releases, unguarded
from diag.waits.scene import asked_at, at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diag.model.facts import Process, Stack, Where
    from diag.model.graph import Actor
    from diag.model.pyobjects import LockObject

LOCK, SEMAPHORE, JOIN, ANY_JOIN, NOTIFICATION = (
    "task-lock", "task-semaphore", "task-end", "any-task-end", "task-notification",
)  # fmt: skip
_OWNED = {"lock": LOCK, "rlock": LOCK, "semaphore": SEMAPHORE}
_MOST_SHOWN = 6
_WORDS = {
    "event": "an event to be set",
    "condition": "a condition to be notified",
    "queue": "a queue",
    "barrier": "others to come to a barrier",
}


class TaskMember(NamedTuple):
    """One task or greenlet, with what its stack, source and memory tell."""

    process: Process
    actor: Actor
    kind: str  # "task" or "greenlet"
    address: int
    stack: Stack
    held: Mapping[int, Where]  # locks it stands inside, by address: the line that took each
    asks: str = ""  # the expression at the line where it waits
    releases: Releases = Releases()  # how that lock comes to be released
    awaits: int = 0  # the future, task or greenlet it waits for
    behind: tuple[int, ...] = ()  # the locks, events, queues among whose waiters it is
    timed: bool = False  # something is due to end its wait after some time
    runs: bool = False  # its loop is running it at this moment: it waits as the thread does


class Work(NamedTuple):
    """Who works on a future outside of the loop: a thread of an executor, or its whole pool."""

    resource: Resource
    holds: tuple[Hold, ...]
    evidence: tuple[Evidence, ...] = ()


class TaskScenery(NamedTuple):
    """The tasks or greenlets of one process, and what memory tells of what they wait for."""

    members: Sequence[TaskMember]
    locks: Mapping[int, LockObject]
    completers: Mapping[int, frozenset[int]]  # a future -> the tasks whose end completes it
    any_of: frozenset[int]  # those futures that the first of several ends complete
    work: Mapping[int, Work]  # a future -> who works on it
    gathered: frozenset[int] = frozenset()  # those futures that the end of all completes


def link(scenery: TaskScenery) -> dict[int, Wait]:
    """Return what each task waits for, by its address; one that waits for its loop alone has none."""
    by_address = {member.address: member for member in scenery.members}
    found = {}
    for member in scenery.members:
        if not member.runs and (wait := _link(member, scenery, by_address)):
            found[member.address] = wait
    return found


def _link(member: TaskMember, scenery: TaskScenery, others: Mapping[int, TaskMember]) -> Wait | None:
    for address in member.behind:
        if lock := scenery.locks.get(address):
            return _for_lock(member, scenery, lock)
    if member.awaits in others and member.awaits != member.address:
        return _for_end(member, [others[member.awaits]], any_of=False)
    if work := scenery.work.get(member.awaits):
        return _wait(member, work.resource, f"waits for {work.resource.name}", work.holds, work.evidence)
    enders = scenery.completers.get(member.awaits, frozenset())
    # A callback leads to much that a task has to do with: itself counts only among what gather() waits for.
    itself = member.awaits in scenery.gathered
    ending = [others[one] for one in sorted(enders) if one in others and (itself or one != member.address)]
    return _for_end(member, ending, any_of=member.awaits in scenery.any_of) if ending else None


def _for_lock(member: TaskMember, scenery: TaskScenery, lock: LockObject) -> Wait:
    kind = _OWNED.get(lock.kind.rpartition("-")[2])
    named = member.asks or f"{lock.type} at {lock.address:#x}"
    if kind is None:
        what = _joins_queue(member) or _WORDS.get(lock.kind.rpartition("-")[2], "a notification")
        return _wait(member, _resource(member, NOTIFICATION, lock.address, what), f"waits for {what}")
    noun = "semaphore" if kind == SEMAPHORE else "lock"
    resource = _resource(member, kind, lock.address, f"the {noun} {named}")
    owners = list(_owners(scenery, lock))
    if kind == SEMAPHORE and lock.maximum not in (None, len(owners)):
        owners = []  # somebody else has one of its places, and may give it back
    certain = kind == LOCK or lock.maximum is not None
    holds = tuple(_hold(owner, resource, lock, certain=certain) for owner in owners)
    if kind == LOCK and not any(lock.address in other.held for other in scenery.members):
        holds = holds or tuple(_abandoned(member, resource, lock))
    state = f"{lock.type} at {lock.address:#x}: {len(lock.waiters)} waiters"
    evidence = (Evidence(source=_memory(member), text=f"{state}, {_named(member)} among them"),)
    words = f"waits for the {noun} {named}"
    if any(hold.abandoned for hold in holds):
        words += ", which was never released"
    if [owner.address for owner in owners] == [member.address]:
        words += ", which it holds"
    elif owners:
        words += f" held by {_named(owners[0])}"
    return _wait(member, resource, words, holds, evidence)


def _joins_queue(member: TaskMember) -> str:
    """A queue's join() waits for an event of its own."""
    names = (
        (frame.file.rpartition("/")[2], frame.function.rpartition(".")[2]) for frame in member.stack.frames
    )
    return "all work of a queue to be done" if ("queues.py", "join") in [*names][:_MOST_SHOWN] else ""


def for_thread(
    wait: Wait, word: int, members: Sequence[TaskMember], words: Mapping[int, frozenset[int]]
) -> Wait:
    """Add to a thread's wait for a lock of threads the one task that was suspended while it had it.

    ``word``: the futex that the thread sleeps on; ``words``: those of each lock that tasks hold, by address.
    """
    found = [(each, lock) for each in members for lock in each.held if word in words.get(lock, ())]
    if len(found) != 1:
        return wait
    owner, lock = found[0]
    where = owner.held[lock]
    text = f"{_named(owner)}: {where}, holds the lock whose futex is {word:#x}"
    hold = Hold(
        holder=owner.actor,
        resource=wait.resource,
        taken_at=where,
        since=owner.process.since,
        evidence=(Evidence(source=_memory(owner), text=text),),
    )
    name = wait.resource.name
    said = wait.words.replace(name, f"{name} held by {_named(owner)}, which is suspended", 1)
    return replace(wait, words=said, holds=(hold,), evidence=(*wait.evidence, *hold.evidence))


def _owners(scenery: TaskScenery, lock: LockObject) -> Iterator[TaskMember]:
    """Yield who stands inside the lock; of a mere lock two cannot, so the source did not tell enough."""
    if lock.owner_ident:
        yield from (member for member in scenery.members if member.address == lock.owner_ident)
        return
    inside = [member for member in scenery.members if lock.address in member.held]
    if len(inside) == 1 or lock.kind.endswith("semaphore"):
        yield from inside


def _hold(owner: TaskMember, resource: Resource, lock: LockObject, *, certain: bool) -> Hold:
    where = owner.held.get(lock.address)
    took = f"{where}, took the {lock.type} at {lock.address:#x}"
    text = f"{_named(owner)}: {took if where else f'the owner that the {lock.type} names'}"
    return Hold(
        holder=owner.actor,
        resource=resource,
        taken_at=where,
        since=owner.process.since,
        certain=certain,
        evidence=(Evidence(source=_memory(owner), text=text),),
    )


def _abandoned(member: TaskMember, resource: Resource, lock: LockObject) -> Iterator[Hold]:
    """Yield the lock's taker, which is gone; its file only takes and releases it in one function each."""
    if not member.releases.leaks or not lock.locked or lock.owner_ident:
        return
    state = f"the {lock.type} at {lock.address:#x} is taken and no task stands inside it"
    text = f"{state}; {unguarded(member.releases.leaks)}"
    yield Hold(
        holder=replace(member.actor, task=None, task_id=0, thread=None, tid=None),
        resource=resource,
        taken_at=member.releases.leaks[0] if len(member.releases.leaks) == 1 else None,
        abandoned=True,
        certain=False,
        evidence=(Evidence(source=_memory(member), text=text),),
    )


def _for_end(member: TaskMember, others: Sequence[TaskMember], *, any_of: bool) -> Wait:
    kind = ANY_JOIN if any_of else JOIN
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    name = f"{'one of ' if any_of else ''}{_named(others[0])}{more} to end"
    resource = _resource(member, kind, member.awaits, name)
    text = f"{_named(member)} waits for the {member.kind} at {others[0].address:#x}: {_named(others[0])}"
    evidence = (Evidence(source=_memory(member), text=text),)
    holds = tuple(Hold(holder=other.actor, resource=resource) for other in others)
    return _wait(member, resource, f"waits for {name}", holds, evidence)


def _resource(member: TaskMember, kind: str, address: int, name: str) -> Resource:
    pid = member.process.pid
    return Resource(kind=kind, key=f"{kind}:{pid}:{address:x}", name=f"{name} of pid {pid}")


def _wait(
    member: TaskMember,
    resource: Resource,
    words: str,
    holds: tuple[Hold, ...] = (),
    evidence: tuple[Evidence, ...] = (),
) -> Wait:
    limit = " for a limited time" if member.timed else ""
    return Wait(
        waiter=member.actor,
        resource=resource,
        how=How.TIMED if member.timed else How.BLOCKED,
        words=f"{words}{limit}{at(member.stack)}",
        where=asked_at(member.stack),
        holds=holds,
        evidence=(*evidence, _frames(member)),
    )


def _named(member: TaskMember) -> str:
    return f"{member.kind} {member.actor.task}"


def _memory(member: TaskMember) -> str:
    return f"/proc/{member.process.pid}/mem"


def _frames(member: TaskMember) -> Evidence:
    """The member's own stack, as memory has it."""
    frames = member.stack.frames[:_MOST_SHOWN]
    lines = (f"{frame.file.rpartition('/')[2]}:{frame.line} {frame.function}" for frame in frames)
    return Evidence(source=_memory(member), text=f"{_named(member)}: {', '.join(lines)}")
