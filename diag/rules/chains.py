"""Chains of waits of every kind: who can never go on, the rings, and where each chain ends. Pure.

A thread that waits for a lock needs all who hold it to let go (AND); one that waits for a pipe or a
socket needs only one of those at the other end (OR). A thread is dead when what it needs can only come
from the dead: found by striking out, again and again, every wait that somebody alive could end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Evidence, Fact
from diag.model.finding import Confidence, Link
from diag.model.graph import How, Wait
from diag.rules import phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.model.graph import Actor, Hold, Resource
    from diag.model.snapshot import SeenThread, Snapshot

    ThreadId = tuple[int, int]

ANY_OF = frozenset(
    {
        "pipe",
        "pty",
        "socket",
        "eventfd",
        "shared-signal",
        "io",
        "queued-work",
        "thread-semaphore",
        "task-semaphore",
        "any-task-end",
    }
)
"""Kinds of resource that any one of their holders can give."""
IN_PROCESS = frozenset(
    {"thread-lock", "thread-semaphore", "module-lock", "thread", "native-lock", "future", "queued-work"}
)
"""Kinds that threads of one process hold."""
MESSAGES = frozenset({"pipe", "pty", "socket"})
"""Kinds through which processes send each other something."""
TASKS = frozenset({"task-lock", "task-semaphore", "task-end", "any-task-end", "task-notification"})
"""Kinds that the tasks and greenlets of one process hold."""
_SERVES = frozenset({"epoll", "poll", "select", "io_uring", "aio", "socket", "fuse-requests"})
"""Idle waits of a thread that answers whoever comes."""
_ELSEWHERE = frozenset({"pipe", "sleep", "child", "pool-work", "work", "queue", "event"})
_WATCHES = frozenset({"epoll", "poll", "select"})
"""Waits for whatever comes; with the addresses that are listened on, if any."""
_WAITS = (How.BLOCKED, How.POLLING)


class Ring(Fact, frozen=True, kw_only=True):
    """Waits that go round: each is held up by the next, the last by the first."""

    waits: tuple[Wait, ...]
    victims: tuple[Wait, ...]  # every stuck wait that leads into it

    @property
    def kinds(self) -> frozenset[str]:
        """What kinds of things are waited for in it."""
        return frozenset(wait.resource.kind for wait in self.waits)

    @property
    def pids(self) -> frozenset[int]:
        """Whose threads are in it."""
        return frozenset(wait.waiter.pid for wait in self.waits)


class Graph:
    """The threads of a snapshot by what they wait for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._threads: dict[int, list[SeenThread]] = {}
        for seen in snapshot.threads:
            self._threads.setdefault(seen.process.pid, []).append(seen)
        self.waits: dict[ThreadId, Wait] = {
            (seen.process.pid, seen.thread.tid): seen.wait for seen in snapshot.threads if seen.wait
        }
        self.waits.update({_key(seen.wait): seen.wait for seen in snapshot.tasks if seen.wait})
        self.stuck = {key: self._accepting(wait) for key, wait in self.waits.items() if _is_stuck(wait)}
        self.dead = self._dead()

    def _accepting(self, wait: Wait) -> Wait:
        """Set aside who has the socket that listens, but looks at other things: a master of workers."""
        if wait.resource.mode != "connect":
            return wait
        pids = {hold.holder.pid for hold in wait.holds} - {wait.waiter.pid}
        aside = {pid for pid in pids if self.threads(pid) and all(map(_looks_elsewhere, self.threads(pid)))}
        holds = tuple(
            replace(hold, passive=True) if hold.holder.pid in aside else hold for hold in wait.holds
        )
        return wait if all(hold.passive for hold in holds) else replace(wait, holds=holds)

    def seen(self, actor: Actor) -> SeenThread | None:
        """The thread of an actor; of a whole process its main thread."""
        if actor.task_id:
            return None
        wanted = actor.tid or actor.pid
        return next((s for s in self._threads.get(actor.pid, ()) if s.thread.tid == wanted), None)

    def threads(self, pid: int) -> Sequence[SeenThread]:
        """All threads seen of a process."""
        return self._threads.get(pid, ())

    def behind(self, wait: Wait, hold: Hold) -> tuple[Wait, ...]:
        """What the threads wait for that could end a wait; none when one of them may go on and do it."""
        if is_left_locked(wait, hold):
            return ()
        if hold.holder.task_id:
            task = self.stuck.get((hold.holder.pid, hold.holder.task_id))
            return (task,) if task else ()
        threads = self._able(wait, hold)
        stuck = [self.stuck.get((seen.process.pid, seen.thread.tid)) for seen in threads]
        if not stuck or None in stuck:
            return ()
        return tuple(each for each in stuck if each)

    def _able(self, wait: Wait, hold: Hold) -> Sequence[SeenThread]:
        """The threads that could end a wait, as far as their process is its holder."""
        threads = self.threads(hold.holder.pid)
        if hold.holder.tid is not None:
            return [seen for seen in threads if seen.thread.tid == hold.holder.tid]
        if wait.resource.kind == "child":  # it ends when its main thread returns
            return [seen for seen in threads if seen.thread.tid == hold.holder.pid]
        main = [seen for seen in threads if seen.thread.tid == hold.holder.pid]
        return [seen for seen in threads if _may_act(seen)] or main

    def bystanders(self, waits: Iterable[Wait]) -> tuple[SeenThread, ...]:
        """Threads of the holders that could in principle end one of the waits, but show no sign of it."""
        found: list[SeenThread] = []
        for wait in waits:
            for hold in active(wait):
                if hold.holder.tid is None and wait.resource.kind != "child":
                    found.extend(
                        seen
                        for seen in self.threads(hold.holder.pid)
                        if (hold.holder.pid, seen.thread.tid) not in self.dead and not _serves_pool(seen)
                    )
        return tuple(found)

    def is_watched(self, waits: Iterable[Wait]) -> bool:
        """Whether a holder looks after others again and again: it runs, and may do what is awaited."""
        pids = {hold.holder.pid for wait in waits for hold in active(wait)}
        threads = (seen for pid in pids for seen in self.threads(pid))
        return any(seen.wait is not None and seen.wait.how is How.POLLING for seen in threads)

    def next(self, wait: Wait) -> tuple[Wait, ...]:
        """The waits that hold up a wait, each of them stuck."""
        return tuple(each for hold in active(wait) for each in self.behind(wait, hold))

    def _dead(self) -> set[ThreadId]:
        """Every thread whose wait nobody alive could end."""
        dead = {key for key, wait in self.stuck.items() if active(wait)}
        while True:
            alive = {key for key in dead if not self._hopeless(self.stuck[key], dead)}
            if not alive:
                return dead
            dead -= alive

    def _hopeless(self, wait: Wait, dead: set[ThreadId]) -> bool:
        each = [self._never(wait, hold, dead) for hold in active(wait)]
        return all(each) if wait.resource.kind in ANY_OF else any(each)

    def _never(self, wait: Wait, hold: Hold, dead: set[ThreadId]) -> bool:
        if is_left_locked(wait, hold):
            return True
        behind = self.behind(wait, hold)
        return bool(behind) and all(_key(each) in dead for each in behind)

    def rings(self) -> tuple[Ring, ...]:
        """Every ring among the dead, once."""
        found = [ring for key in sorted(self.dead) if (ring := self._ring_from(self.stuck[key]))]
        kept: dict[frozenset[ThreadId], tuple[Wait, ...]] = {}
        # Several ways round may go through the same threads: the shortest is the cause.
        for ring in sorted(found, key=len):
            members = frozenset(map(_key, ring))
            if not any(members & others for others in kept):
                kept[members] = ring
        return tuple(Ring(waits=ring, victims=self._into(members)) for members, ring in kept.items())

    def _ring_from(self, wait: Wait) -> tuple[Wait, ...]:
        """Follow the dead from a wait; return the ring that this ends in, its least thread first."""
        path: list[Wait] = []
        while wait not in path:
            path.append(wait)
            after = [each for each in self.next(wait) if _key(each) in self.dead]
            if not after:
                return ()
            back = [each for each in after if each in path]
            wait = max(back, key=path.index) if back else after[0]
        ring = path[path.index(wait) :]
        start = min(range(len(ring)), key=lambda n: _key(ring[n]))
        return tuple(ring[start:] + ring[:start])

    def _into(self, members: frozenset[ThreadId]) -> tuple[Wait, ...]:
        """The stuck waits outside a ring that lead into it."""
        return tuple(
            wait
            for key, wait in self.stuck.items()
            if key not in members and any(_key(each) in members for each in self.path(wait)[1:])
        )

    def path(self, wait: Wait) -> tuple[Wait, ...]:
        """Follow a wait to the end of its chain, or until it comes back to where it was."""
        path: list[Wait] = []
        following: Wait | None = wait
        while following is not None and following not in path:
            path.append(following)
            after = self.next(following)
            into_ring = (each for each in after if _key(each) in self.dead)
            following = next(into_ring, next(iter(after), None))
        return tuple(path)

    def into(self, end: Wait) -> tuple[Wait, ...]:
        """The longest chain of waits that leads into one, and that one."""
        paths = (self.path(wait) for wait in self.stuck.values())
        found = [path[: path.index(end) + 1] for path in paths if end in path]
        return max(found, key=len, default=(end,))

    def victims(self, members: Iterable[Wait]) -> tuple[Actor, ...]:
        """Who waits, directly or not, for the threads of these waits."""
        keys = frozenset(map(_key, members))
        return tuple(wait.waiter for wait in self._into(keys))


def active(wait: Wait) -> tuple[Hold, ...]:
    """The holds that stand in the way; who merely shares a descriptor does not."""
    return tuple(hold for hold in wait.holds if not hold.passive)


def is_left_locked(wait: Wait, hold: Hold) -> bool:
    """Whether nobody in the process can release a lock: fork copied it locked, or its taker is gone."""
    return hold.abandoned or is_copied(wait, hold)


def is_copied(wait: Wait, hold: Hold) -> bool:
    """Whether a lock was copied by fork while it was taken: its owner is no thread of this process."""
    return hold.inherited and wait.resource.kind in IN_PROCESS


def _is_stuck(wait: Wait) -> bool:
    return wait.stuck and wait.how in _WAITS


def _may_act(seen: SeenThread) -> bool:
    """Whether a thread counts among those that could do something for another process."""
    wait = seen.wait
    if wait is None:
        return True
    if wait.how is How.TIMED and seen.moved is False:
        return False  # a heartbeat, a timer: it sleeps while the pipe it might serve stands full
    return wait.how is not How.IDLE or wait.resource.kind in _SERVES


def _looks_elsewhere(seen: SeenThread) -> bool:
    """Whether a thread sleeps for something else than a connection, as it should."""
    wait = seen.wait
    if wait is None or wait.how not in (How.IDLE, How.TIMED, How.POLLING):
        return False
    return wait.resource.kind in _ELSEWHERE or (wait.resource.kind in _WATCHES and not wait.resource.address)


def _serves_pool(seen: SeenThread) -> bool:
    """Whether a thread does nothing but bring a pool its work and its results."""
    wait = seen.wait
    return wait is not None and wait.how is How.IDLE and wait.resource.kind in ("pool-work", "work")


def _key(wait: Wait) -> ThreadId:
    actor = wait.waiter  # the address of a task is larger than any thread's number
    return actor.pid, actor.task_id or actor.tid or actor.pid


def short(resource: Resource) -> str:
    """Name a resource of one process where the process is named already."""
    return resource.name.partition(" of pid ")[0] if resource.kind in IN_PROCESS | TASKS else resource.name


def links(waits: Iterable[Wait]) -> tuple[Link, ...]:
    """The hops of a chain, for the report."""
    return tuple(
        Link(
            waiter=wait.waiter,
            waits_for=wait.resource,
            held_by=tuple(hold.holder for hold in active(wait) if not is_left_locked(wait, hold)),
            where=wait.where,
        )
        for wait in waits
    )


def starting_with(ring: Sequence[Wait], pid: int) -> tuple[Wait, ...]:
    """Turn a ring so that it begins with a wait of this process."""
    start = next((n for n, wait in enumerate(ring) if wait.waiter.pid == pid), 0)
    return (*ring[start:], *ring[:start])


def starting_at(ring: Sequence[Wait], actor: Actor) -> tuple[Wait, ...]:
    """Turn a ring so that it begins with the wait of this thread."""
    start = next((n for n, wait in enumerate(ring) if wait.waiter.tid == actor.tid), 0)
    return (*ring[start:], *ring[:start])


def hops(waits: Iterable[Wait]) -> str:
    """A ring across processes in words: "pid 1 (a) waits for …, held up by pid 2 (b), which …"."""
    ring = list(waits)
    parts = [f"{phrases.who(wait.waiter)}, which {phrases.hop(wait)}" for wait in ring]
    parts.append(phrases.who(ring[0].waiter))
    return ", held up by ".join(parts).replace(", which", "", 1)


def confidence(waits: Iterable[Wait]) -> Confidence:
    """Certain only where every wait and every ownership was read, not inferred."""
    sure = all(wait.certain and all(hold.certain for hold in active(wait)) for wait in waits)
    return Confidence.CERTAIN if sure else Confidence.LIKELY


def evidence(waits: Iterable[Wait]) -> tuple[Evidence, ...]:
    """The raw lines along a chain, each once."""
    return tuple(dict.fromkeys(_evidence(waits)))


def _evidence(waits: Iterable[Wait]) -> Iterator[Evidence]:
    for wait in waits:
        yield from wait.evidence
        for hold in active(wait):
            yield from hold.evidence
