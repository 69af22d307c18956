"""The greenlets of gevent in the processes along the wait chains: what each waits for, who holds up a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors.pyobjects import green_locks
from diag.collectors.pyobjects import greenlets as collector
from diag.investigate import forked, task_members
from diag.investigate.lock_memory import LockMemory
from diag.model.facts import Evidence, Frame
from diag.model.snapshot import HeldLoop, SeenTask
from diag.waits import task as task_waits
from diag.waits.scene import is_library
from diag.waits.task import TaskScenery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.collectors.pyobjects.reader import Reader
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Process
    from diag.model.pyobjects import GreenletObject, LockObject
    from diag.model.snapshot import SeenThread
    from diag.waits.task import TaskMember

KIND = "greenlet"
_MAPS = 4 << 20
_HUB_FILE = "/gevent/hub.py"


class Looked(NamedTuple):
    """Greenlets, and the threads whose hub cannot run."""

    tasks: tuple[SeenTask, ...]
    threads: Mapping[tuple[int, int], SeenThread]


def look(inquiry: Inquiry, threads: Sequence[SeenThread]) -> Looked:
    """Read the greenlets of every process that has a hub of gevent."""
    tasks: list[SeenTask] = []
    held: dict[tuple[int, int], SeenThread] = {}
    for pid in dict.fromkeys(seen.process.pid for seen in threads if seen.stack):
        if not _has_greenlets(inquiry, pid):
            continue
        memory = LockMemory(inquiry, pid)
        if memory.objects is None or not memory.objects.module("gevent.hub"):
            continue
        group = [seen for seen in threads if seen.process.pid == pid]
        found = collector.greenlets(memory.objects)
        hubs = [one for one in found if one.is_hub]
        for hub in hubs:
            runner = _runner(memory.objects, hub, group)
            if runner is None or _is_parents(inquiry, runner.process, hub):
                continue
            own = [one for one in found if one.frames and _belongs(one, hub, alone=len(hubs) == 1)]
            tasks.extend(_tasks(inquiry, memory, runner, own))
            if own and _runs_another(runner):
                evidence = _evidence(runner, hub, own)
                held[pid, runner.thread.tid] = replace(
                    runner, held_loop=HeldLoop(kind="gevent", evidence=evidence)
                )
    return Looked(tuple(tasks), held)


def same(objects: Reader, seen: SeenTask) -> bool:
    """Whether a greenlet still stands at the same place, and is still among the same waiters."""
    now = collector.greenlet(objects, seen.actor.task_id)
    if now is None or not now.frames or not seen.stack.frames:
        return False
    place, frame = now.frames[0].where, seen.stack.frames[0]
    stays = (place.file, place.line) == (frame.file, frame.line)
    return stays and seen.actor.task_id in green_locks.waiting(objects, seen.awaits)


def _has_greenlets(inquiry: Inquiry, pid: int) -> bool:
    """Whether a process has loaded greenlet's C code: a cheap question before memory is searched."""
    try:
        return b"greenlet" in inquiry.host.read(f"/proc/{pid}/maps", _MAPS)
    except OSError:
        return False


def _runner(objects: PyObjects, hub: GreenletObject, group: Sequence[SeenThread]) -> SeenThread | None:
    """The thread of a hub: it notes its number; before gevent 1.3 the only thread there is."""
    ident = objects.integer(objects.attribute(hub.address, "thread_ident"))
    if ident is None:
        return group[0] if len(group) == 1 else None
    return next((seen for seen in group if seen.stack and seen.stack.ident == ident), None)


def _is_parents(inquiry: Inquiry, process: Process, hub: GreenletObject) -> bool:
    """Whether a hub was merely copied by fork: nothing says that its child uses it."""
    parent = forked.parent_of(inquiry, process)
    objects = inquiry.objects(parent.pid) if parent else None
    return objects is not None and objects.is_a(hub.address, collector.HUB)


def _belongs(one: GreenletObject, hub: GreenletObject, *, alone: bool) -> bool:
    """Whether a greenlet is run by a hub: it is its parent; the main greenlet is the hub's own parent."""
    if one.is_hub:
        return False
    return one.parent == hub.address or one.address == hub.parent or (alone and one.parent is None)


def _runs_another(seen: SeenThread) -> bool:
    """Whether a thread runs a greenlet: the hub, wherever it stands, has its own run() outermost."""
    frames = [frame for frame in seen.stack.frames if not frame.native] if seen.stack else []
    return bool(frames) and not any(
        frame.file.endswith(_HUB_FILE) and frame.function.rpartition(".")[2] == "run" for frame in frames
    )


def _evidence(seen: SeenThread, hub: GreenletObject, waiting: Sequence[GreenletObject]) -> Evidence:
    place = waiting[0].frames[0].where
    return Evidence(
        source=f"/proc/{seen.process.pid}/mem",
        text=f"gevent.hub.Hub at {hub.address:#x} belongs to thread {seen.thread.tid} and does not run; "
        f"{len(waiting)} greenlets wait for their turn, one at {place}",
    )


def _tasks(
    inquiry: Inquiry, memory: LockMemory, runner: SeenThread, found: Sequence[GreenletObject]
) -> Iterator[SeenTask]:
    objects = memory.objects
    assert objects is not None
    locks = {one.address: lock for one in found if (lock := green_locks.waits_for(objects, one))}
    ends = _ends(objects, found)
    timed = green_locks.timed(objects)
    members = tuple(
        _member(inquiry, memory, runner, one, locks.get(one.address), timed is None or one.address in timed)
        for one in found
    )
    scenery = TaskScenery(
        members=members,
        locks={lock.address: lock for lock in locks.values()},
        completers=ends,
        # Of several it may want all or any: with less than all of them known for sure, any will do.
        any_of=frozenset(one for one, enders in ends.items() if len(enders) > 1),
        work={},
    )
    waits = task_waits.link(scenery)
    for member in members:
        wanted = locks.get(member.address)
        joined = min(ends.get(member.address, ()), default=0)
        yield SeenTask(
            process=member.process,
            actor=member.actor,
            kind=KIND,
            stack=member.stack,
            awaits=wanted.address if wanted else joined,
            wait=waits.get(member.address),
        )


def _member(
    inquiry: Inquiry,
    memory: LockMemory,
    runner: SeenThread,
    one: GreenletObject,
    lock: LockObject | None,
    timed: bool,
) -> TaskMember:
    return task_members.member(
        inquiry,
        memory,
        runner,
        task_members.Waiting(
            kind=KIND,
            address=one.address,
            name=f"{_does(one)} at {one.address:#x}",
            frames=one.frames,
            awaits=one.address,  # the key under which _ends() says whose end it waits for
            behind=(lock.address,) if lock else (),
            timed=timed,
        ),
    )


def _does(one: GreenletObject) -> str:
    """Name the outermost function of the program itself: those of a patched thread begin in threading."""
    places = [frame.where for frame in one.frames]
    own = [at for at in places if not is_library(Frame(function=at.function, file=at.file, line=at.line))]
    return (own or places)[-1].function


def _ends(objects: Reader, found: Sequence[GreenletObject]) -> dict[int, frozenset[int]]:
    """For each greenlet, those whose end will switch to it: their own list of links leads to it."""
    known = {one.address for one in found}
    ends: dict[int, set[int]] = {}
    for one in found:
        for other in known & green_locks.waiting(objects, one.address) - {one.address}:
            ends.setdefault(other, set()).add(one.address)
    return {other: frozenset(enders) for other, enders in ends.items()}
