"""From each stuck wait for a file lock along its chain to the one cause at the end. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Evidence, Fact
from diag.model.finding import Confidence, Link
from diag.model.graph import Actor, Hold, How, Resource, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.facts import Process
    from diag.model.snapshot import SeenThread, Snapshot

    Name = tuple[int, int | None, int]
    Seen = set[Name]  # waiters whose chains were followed already

LONGEST = 32
"""Hops of a chain that are followed."""
LOCKS = ("file-lock", "soft-lock")


class End(IntEnum):
    """What stands at the end of a wait chain; the later, the less can it end by itself."""

    UNKNOWN = 0  # nobody visible holds it
    IDLE = 1  # the last holder sleeps, idles or works
    STUCK = 2  # the last holder waits for something that is no file lock
    INHERITED = 3  # the keeper got the lock from a process that is gone or let go of it
    HALTED = 4  # the last holder is stopped, traced or frozen
    RING = 5  # the chain comes back to where it was
    SELF = 6  # the waiter holds it itself


class Cause(Fact, frozen=True, kw_only=True):
    """One end of chains, with all who wait because of it."""

    end: End
    path: tuple[Wait, ...]  # the longest chain, from a victim to the end; of a ring only the ring
    hold: Hold  # the last one
    victims: tuple[Wait, ...]  # every stuck wait that leads here, the ring's own left out
    last: SeenThread | None = None  # what the last holder does
    sure: bool = True  # False: which thread of a holder goes on with the chain is inferred
    also: tuple[Resource, ...] = ()  # other locks that others lack because of the same end

    @property
    def chain(self) -> tuple[Link, ...]:
        """The hops, for the report."""
        return tuple(
            Link(
                waiter=wait.waiter,
                waits_for=wait.resource,
                held_by=tuple(hold.holder for hold in wait.holds if not hold.passive),
                where=wait.where,
            )
            for wait in self.path
        )

    @property
    def beside(self) -> tuple[Actor, ...]:
        """Who else holds the last lock of the chain, as readers do: each of them has to let go."""
        last = self.path[-1]
        mine = [hold for hold in last.holds if not hold.passive and hold.resource.kind in LOCKS]
        if self.hold.holder.pid not in {hold.holder.pid for hold in mine}:
            return ()
        found = {hold.holder.pid: hold.holder for hold in mine if hold.holder.pid != self.hold.holder.pid}
        return tuple(found.values())

    @property
    def timed(self) -> bool:
        """Whether one of the chain waits with a time limit: it may go on by itself."""
        return any(wait.how is How.TIMED for wait in self.path)

    @property
    def confidence(self) -> Confidence:
        """Certain only where every wait and the ownership were read, not inferred."""
        sure = self.sure and self.hold.certain and not self.timed
        for wait, after in zip(self.path, (*self.path[1:], None), strict=True):
            used = [hold for hold in wait.holds if after is None or hold.holder.pid == after.waiter.pid]
            sure = sure and wait.certain and all(hold.certain for hold in used if not hold.passive)
            if wait.resource.kind not in LOCKS and len(wait.holds) > 1:
                sure = False  # any of those at the other end could have made it go on
        return Confidence.CERTAIN if sure else Confidence.LIKELY

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Raw lines: who holds first, then who waits, along the chain."""
        items = [*self.hold.evidence]
        for wait in reversed(self.path):
            items.extend(wait.evidence)
            items.extend(item for hold in wait.holds if not hold.passive for item in hold.evidence)
        return tuple(dict.fromkeys(items))

    @property
    def actors(self) -> tuple[Actor, ...]:
        """The victims as actors, each process or thread once."""
        found = {_name(wait.waiter): wait.waiter for wait in self.victims}
        return tuple(found.values())


def causes(snapshot: Snapshot, *ends: End) -> Iterator[Cause]:
    """Yield each cause of the given kinds that keeps an asked-for lock from somebody."""
    merged: dict[tuple[object, ...], Cause] = {}
    for wait in _stuck(snapshot):
        cause = _walk(snapshot, (wait,), set())
        key = (cause.end, *_members(cause))
        known = merged.get(key)
        merged[key] = _merge(known, cause) if known else cause
    yield from (_with_parents(snapshot, cause) for cause in merged.values() if cause.end in ends)


def _with_parents(snapshot: Snapshot, cause: Cause) -> Cause:
    """Add those who wait for one of the processes to end: they cannot go on before it does."""
    members = {wait.waiter.pid for wait in (*cause.path, *cause.victims)} | {cause.hold.holder.pid}
    parents = tuple(
        wait
        for wait in snapshot.waits
        if wait.stuck
        and wait.resource.kind == "child"
        and wait.waiter.pid not in members
        and any(hold.holder.pid in members for hold in wait.holds)
    )
    return replace(cause, victims=(*cause.victims, *parents)) if parents else cause


def _stuck(snapshot: Snapshot) -> Iterator[Wait]:
    found = {id(wait): wait for lock in snapshot.locks if lock.asked for wait in lock.waiters if wait.stuck}
    yield from found.values()


def _members(cause: Cause) -> tuple[object, ...]:
    """What makes two causes one: all of a ring, the lock retaken, or the process at the end."""
    if cause.end is End.RING:
        return tuple(sorted({wait.waiter.pid for wait in cause.path}))
    if cause.end in (End.SELF, End.UNKNOWN, End.INHERITED):
        return cause.hold.holder.pid, cause.hold.resource.key
    last = cause.path[-1] if cause.end is End.STUCK else None
    return _name(last.waiter) if last else (cause.hold.holder.pid,)


def _merge(known: Cause, other: Cause) -> Cause:
    longest = max(known, other, key=lambda each: len(each.path))
    seen = {(*_name(wait.waiter), wait.resource.key) for wait in known.victims}
    new = tuple(wait for wait in other.victims if (*_name(wait.waiter), wait.resource.key) not in seen)
    main = longest.hold.resource.key
    also = {
        resource.key: resource
        for cause in (known, other)
        for resource in (cause.hold.resource, *cause.also)
        if resource.key != main and resource.kind in LOCKS
    }
    return replace(longest, victims=(*known.victims, *new), also=tuple(also.values()))


def _walk(snapshot: Snapshot, path: tuple[Wait, ...], done: Seen) -> Cause:
    """Follow the last wait of a path to its end.

    Of several holders of a lock each has to let go: the worst end counts. Of several processes at the
    other end of a pipe or socket any will do: the best end counts.
    """
    wait = path[-1]
    holds = _standing(wait)
    if not holds or len(path) > LONGEST:
        return _cause(snapshot, End.UNKNOWN, path, _nobody(wait))
    ends = [cause for hold in holds if (cause := _through(snapshot, path, hold, done))]
    choose = max if wait.resource.kind in LOCKS else min
    nothing = _cause(snapshot, End.UNKNOWN, path, _nobody(wait))
    return choose(ends, key=lambda cause: cause.end, default=nothing)


def _standing(wait: Wait) -> tuple[Hold, ...]:
    """The holds that matter: of the waiter itself first, then in the order listed."""
    active = [hold for hold in wait.holds if not hold.passive]
    return tuple(sorted(active, key=lambda hold: hold.holder.pid != wait.waiter.pid))


def _through(snapshot: Snapshot, path: tuple[Wait, ...], hold: Hold, done: Seen) -> Cause | None:
    """Follow the chain through one holder of what the last wait of ``path`` lacks.

    None where another branch has led to the same waiter before: its end is known.
    """
    wait = path[-1]
    own = wait.resource.kind in LOCKS and hold.holder.pid == wait.waiter.pid
    if own and _by_itself(snapshot, wait, hold):
        return _ring(snapshot, End.SELF, path, len(path) - 1, hold)
    process = snapshot.process(hold.holder.pid)
    if process and is_halted(snapshot, process, hold.holder.tid):
        return _cause(snapshot, End.HALTED, path, hold)
    if hold.inherited:
        return _cause(snapshot, End.INHERITED, path, hold)
    after, sure = _next(snapshot, path, hold)
    if after is None:
        return _cause(snapshot, End.IDLE, path, hold)
    back = next((n for n, each in enumerate(path) if _same_waiter(each, after)), None)
    if back is not None and any(each.resource.kind in LOCKS for each in path[back:]):
        cause = _ring(snapshot, End.RING, path, back, hold)
    elif back is not None:  # a ring of its own, of locks in memory or of messages: other rules judge it
        cause = _cause(snapshot, End.STUCK, path, hold, path[-1])
    elif not _standing(after):
        cause = _cause(snapshot, End.STUCK, (*path, after), hold, after)
    elif _name(after.waiter) in done:
        return None
    else:
        done.add(_name(after.waiter))
        cause = _walk(snapshot, (*path, after), done)
    return cause if sure else replace(cause, sure=False)


def is_halted(snapshot: Snapshot, process: Process, tid: int | None = None) -> bool:
    """Whether a process does not run at all; a traced one that goes on between its stops does."""
    seen = next((s for s in snapshot.seen(process.pid) if s.thread.tid == (tid or process.pid)), None)
    if seen is not None and seen.moved:
        return False
    state = seen.thread.state if seen else process.state
    return state in ("T", "t") or process.frozen


def _by_itself(snapshot: Snapshot, wait: Wait, hold: Hold) -> bool:
    """Whether the waiting thread itself took what it waits for, rather than another of its process."""
    if wait.waiter.task_id and not wait.retaken:  # another task may have it, and go on
        return hold.holder.task_id == wait.waiter.task_id
    if hold.holder.tid is not None and wait.waiter.tid is not None:
        return hold.holder.tid == wait.waiter.tid
    if wait.retaken:
        return True
    process = snapshot.process(wait.waiter.pid)
    # Another thread may have taken it and go on to release it: only its stack could tell.
    return process is not None and (process.threads == 1 or not _goes_on_elsewhere(snapshot, wait))


def _goes_on_elsewhere(snapshot: Snapshot, wait: Wait) -> bool:
    """Whether another thread of the process does something that may end in the lock's release.

    One that waits for work, as the threads of a pool do, has no lock to give back.
    """
    others = [seen for seen in snapshot.seen(wait.waiter.pid) if seen.thread.tid != wait.waiter.tid]
    stuck = {
        each.waiter.tid
        for each in snapshot.waits
        if each.waiter.pid == wait.waiter.pid and each.stuck and each.resource.kind != "sleep"
    }
    return not others or any(
        seen.thread.tid not in stuck and not (seen.wait and seen.wait.how is How.IDLE) for seen in others
    )


def _next(snapshot: Snapshot, path: tuple[Wait, ...], hold: Hold) -> tuple[Wait | None, bool]:
    """What the holder waits for itself, None when it sleeps, idles or works; and whether that is sure.

    Where it is not known which thread of the holder has the lock, the main thread is taken for it, and
    then any that waits, as long as no other goes on.
    """
    waits = [wait for wait in snapshot.waits_of(hold.holder) if _follows(wait)]
    if hold.holder.tid is not None or hold.holder.task_id:
        return next(iter(waits), None), True
    process = snapshot.process(hold.holder.pid)
    if process is None or process.threads <= 1:
        return next(iter(waits), None), True
    # A ring through the same thread is no ring: another one may have it.
    waits = [wait for wait in waits if not _same_waiter(path[-1], wait)]
    main = [wait for wait in waits if wait.waiter.tid in (None, wait.waiter.pid)]
    return next(iter(main or waits), None), False


def _follows(wait: Wait) -> bool:
    """Whether a wait leads on: one that keeps its thread from going on until somebody else does something."""
    if wait.how in (How.IDLE, How.RUNNING) or wait.resource.kind in ("sleep", "unknown"):
        return False
    return wait.stuck or (bool(wait.holds) and wait.resource.kind == "child")


def _name(actor: Actor) -> Name:
    return actor.pid, actor.tid, actor.task_id


def _same_waiter(one: Wait, other: Wait) -> bool:
    same = (one.waiter.pid, one.waiter.task_id) == (other.waiter.pid, other.waiter.task_id)
    return same and (one.waiter.tid == other.waiter.tid or None in (one.waiter.tid, other.waiter.tid))


def _nobody(wait: Wait) -> Hold:
    return Hold(
        holder=Actor(pid=0, started=0, process=""),
        resource=wait.resource,
        certain=False,
        evidence=wait.evidence,
    )


def _ring(snapshot: Snapshot, end: End, path: tuple[Wait, ...], start: int, hold: Hold) -> Cause:
    cause = _cause(snapshot, end, path[start:], hold)
    return replace(cause, victims=path[:start])


def _cause(
    snapshot: Snapshot, end: End, path: tuple[Wait, ...], hold: Hold, after: Wait | None = None
) -> Cause:
    seen = () if hold.holder.task_id else snapshot.seen(hold.holder.pid)
    wanted = after.waiter.tid if after else hold.holder.tid or hold.holder.pid
    return Cause(
        end=end,
        path=path,
        hold=hold,
        victims=path[:-1] if after else path,
        last=next(
            (each for each in seen if each.thread.tid == wanted and each.thread.state not in "ZX"), None
        ),
    )
