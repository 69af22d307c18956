"""Locks that processes share (multiprocessing): which process has one, or that its owner has died.

A semaphore does not know its owner, but every process counts how often it has taken it itself
(SemLock.count). Forked processes have that object at one and the same address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import maps
from diag.collectors import process as processes
from diag.collectors.pyobjects import locks, queues
from diag.collectors.pyobjects.memory import Memory
from diag.investigate import forked, live_frames
from diag.model.facts import Evidence
from diag.model.graph import Hold, Resource
from diag.waits.scene import asked_at, at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread

_LAST, _COUNT, _MOST = 24, 32, 36  # offsets in SemLock: long last_tid, int count, int maxvalue
_INNER = 4  # frames of multiprocessing between the user's line and the semaphore
PAUSE = 0.05
"""Seconds between two reads of the counts: one may fall into the moment between taking and counting."""


class _Shared(NamedTuple):
    """A shared lock as one process has it."""

    word: int  # address of the semaphore
    counts: int  # address of the SemLock object
    mapping: str  # the file that both processes have mapped: "/dev/shm/sem.mp-ab12 (deleted)"


def link(inquiry: Inquiry, group: Sequence[SeenThread]) -> dict[int, Wait]:
    """Return the waits, by thread id, of those who wait for a lock that is shared with other processes."""
    waiting = [seen for seen in group if is_shared(seen)]
    if not any(seen.stack for seen in waiting):
        return {}
    objects = inquiry.objects(group[0].process.pid)
    if objects is None:
        return {}
    found = {}
    better = live_frames.add(inquiry, group[0].process.pid, [seen.stack for seen in waiting if seen.stack])
    for each in waiting:
        seen = replace(each, stack=better.get(each.stack.ident, each.stack)) if each.stack else each
        shared = _lock_of(inquiry, seen, objects)
        wait = _link(inquiry, seen, shared) if shared else signal(inquiry, seen)
        if wait:
            found[seen.thread.tid] = wait
    return found


def is_shared(seen: SeenThread) -> bool:
    """Whether a thread sleeps on a word that other processes may have mapped too."""
    return seen.wait is not None and seen.wait.resource.key.startswith("futex:shared:")


def _lock_of(inquiry: Inquiry, seen: SeenThread, objects: PyObjects) -> _Shared | None:
    """The lock among the innermost frames' variables whose semaphore the thread sleeps on."""
    word = seen.thread.syscall.arguments[0] if seen.thread.syscall else 0
    for frame in seen.stack.frames[:_INNER] if seen.stack else ():
        for address in (each for local in frame.locals for each in _named_by(objects, local.address)):
            lock = locks.describe(objects, address)
            if lock is None or lock.kind != "semlock" or word not in lock.futex_words:
                continue
            inner = lock.lock or lock.address
            where = mapping(inquiry, seen.process.pid, word)
            # More than one at a time may have a semaphore, and anybody may release it.
            if where and objects.memory.int32(inner + _MOST) == 1:
                return _Shared(word, inner, where)
    return None


def _named_by(objects: PyObjects, address: int) -> Iterator[int]:
    """A variable itself, and the locks of a queue: in 2.7 get() knows its lock by a closure only."""
    yield address
    if objects.is_a(address, *queues.BETWEEN_PROCESSES):
        for name in ("_rlock", "_wlock"):
            if lock := objects.attribute(address, name):
                yield lock


def mapping(inquiry: Inquiry, pid: int, address: int) -> str | None:
    """Name the file or the unnamed memory that processes share at an address; None: it is private."""
    found = (item for item in maps.collect(inquiry.host, pid) if item.start <= address < item.end)
    return next((_label(item) for item in found if item.path.startswith("/") and "s" in item.access), None)


def offset(inquiry: Inquiry, pid: int, address: int) -> int:
    """How far into the shared file an address lies: equal in all processes that have it."""
    found = (item for item in maps.collect(inquiry.host, pid) if item.start <= address < item.end)
    return next((address - item.start + item.offset for item in found), 0)


def mappings(inquiry: Inquiry, pid: int) -> frozenset[str]:
    """All that a process shares, by the same names."""
    return frozenset(_label(item) for item in maps.collect(inquiry.host, pid) if "s" in item.access)


def may_read(inquiry: Inquiry, pid: int) -> bool:
    """Whether the mappings of a process may be seen."""
    return bool(maps.collect(inquiry.host, pid))


def _label(item: maps.Mapping) -> str:
    """Of files that are gone, and of memory without a name, many have one path."""
    unnamed = item.path.startswith(("/dev/zero", "/memfd:", "/SYSV"))
    return f"{item.path} inode {item.inode}" if unnamed else item.path


def _link(inquiry: Inquiry, seen: SeenThread, shared: _Shared) -> Wait | None:
    """Name who has the lock; None where that cannot be told."""
    assert seen.wait
    family = _family(inquiry, seen.process.pid, shared)
    holders = _counting(inquiry, family, shared)
    if not holders:
        everybody = _everybody(inquiry, seen.process.pid, shared)
        if everybody is None:
            return None
        family = everybody
        inquiry.host.sleep(PAUSE)
        holders = _counting(inquiry, family, shared)
    name = f"the lock that processes share in {shared.mapping.partition(' ')[0]}"
    resource = Resource(kind="shared-lock", key=f"shared-lock:{shared.mapping}", name=name)
    text = f"semaphore at {shared.word:#x} is taken; of the {len(family)} processes that have it " + (
        f"pid {', '.join(map(str, holders))} counts it as its own" if holders else "none has taken it"
    )
    evidence = Evidence(source=f"/proc/{seen.process.pid}/mem", text=text)
    who = f" held by pid {', '.join(map(str, holders))}" if holders else ", whose owner has died"
    return replace(
        seen.wait,
        resource=resource,
        words=f"waits for {name}{who}{at(seen.stack)}",
        where=asked_at(seen.stack),
        holds=tuple(Hold(holder=_owner(inquiry, pid, shared), resource=resource) for pid in holders),
        evidence=(*seen.wait.evidence, evidence),
    )


def signal(inquiry: Inquiry, seen: SeenThread, what: str = "") -> Wait | None:
    """A condition, event, barrier or semaphore, which has no owner: whoever has it mapped may give it."""
    word = seen.thread.syscall.arguments[0] if seen.thread.syscall else 0
    where = mapping(inquiry, seen.process.pid, word)
    if where is None or seen.wait is None:
        return None
    sharers = _sharers(inquiry, where)
    others = tuple(pid for pid in sharers if pid != seen.process.pid) or (seen.process.pid,)
    what = what or seen.wait.words.removeprefix("waits for ").partition(",")[0].partition(" in ")[0]
    place = offset(inquiry, seen.process.pid, word)
    resource = Resource(kind="shared-signal", key=f"shared-signal:{where}:{place:x}", name=what)
    text = f"{word:#x} lies in {where}, which pids {', '.join(map(str, sharers))} have mapped"
    evidence = Evidence(source=f"/proc/{seen.process.pid}/maps", text=text)
    holds = tuple(Hold(holder=inquiry.actor(pid), resource=resource, certain=False) for pid in others)
    return replace(
        seen.wait,
        resource=resource,
        where=asked_at(seen.stack),
        holds=holds,
        evidence=(*seen.wait.evidence, evidence),
    )


def _owner(inquiry: Inquiry, pid: int, shared: _Shared) -> Actor:
    """The thread of a holder that has taken the lock last: it is the one that counts it as its own."""
    ident = Memory(inquiry.host, pid).word(shared.counts + _LAST)
    stack = next((one for one in inquiry.stacks(pid) if one.ident == ident and one.tid), None)
    return inquiry.actor(pid, stack.tid, asked_at(stack)) if stack else inquiry.actor(pid)


def _family(inquiry: Inquiry, pid: int, shared: _Shared) -> tuple[int, ...]:
    """Those of its relatives that have the semaphore: the owner is most often one of them."""
    oldest = pid
    while (process := inquiry.process(oldest)) and process.ppid > 1 and _has(inquiry, process.ppid, shared):
        oldest = process.ppid
    family = processes.family(inquiry.host, oldest)
    return tuple(each for each in family if _is_copy(inquiry, pid, each) and _has(inquiry, each, shared))


def _everybody(inquiry: Inquiry, pid: int, shared: _Shared) -> tuple[int, ...] | None:
    """Every process of the host that has it; None when one of them is no copy of our memory."""
    found = _sharers(inquiry, shared.mapping)
    return found if all(_is_copy(inquiry, pid, each) for each in found) else None


def _sharers(inquiry: Inquiry, mapping: str) -> tuple[int, ...]:
    """Every process of the host that has mapped a file."""
    if mapping not in inquiry.sharers:
        inquiry.sharers[mapping] = tuple(
            each for each in processes.pids(inquiry.host) if mapping in mappings(inquiry, each)
        )
    return inquiry.sharers[mapping]


def _is_copy(inquiry: Inquiry, pid: int, other: int) -> bool:
    return pid == other or forked.same_memory(inquiry, pid, other)


def _has(inquiry: Inquiry, pid: int, shared: _Shared) -> bool:
    return mapping(inquiry, pid, shared.word) == shared.mapping


def _counting(inquiry: Inquiry, family: Iterable[int], shared: _Shared) -> tuple[int, ...]:
    """Those who count the lock as taken by themselves, if it is taken at all."""
    found = []
    for pid in family:
        memory = Memory(inquiry.host, pid)
        if memory.int32(shared.word) != 0:
            return (pid,)  # free, or not readable: it is not stuck for want of an owner
        count = memory.int32(shared.counts + _COUNT)
        if count is None or count > 0:
            found.append(pid)
    return tuple(found)
