"""The tasks of trio: each is read from the runner on its thread's stack, and its locks name their owners."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from diag.collectors.pyobjects import frames, scalars
from diag.investigate import task_members
from diag.investigate.lock_memory import LockMemory
from diag.model.facts import Gap
from diag.model.pyobjects import LockObject
from diag.model.snapshot import SeenTask
from diag.waits import task as task_waits
from diag.waits.task import TaskMember, TaskScenery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.pyobjects import TaskFrame
    from diag.model.snapshot import SeenThread

CODES = frozenset({"T009", "T010", "T012"})
"""Rules that tasks which cannot be read may blind."""
MOST = 5000
_CORE = "/trio/_core/"
_TASKS = ("trio.lowlevel.Task", "trio._core._run.Task")
_LOCKS = ("trio.Lock", "trio.StrictFIFOLock", "trio._sync.Lock", "trio._sync.StrictFIFOLock")
_INNER = 6  # frames of trio between a lock's acquire() and the yield to the loop
_MOST_SCOPES = 50
_RUN = "_schedule_points"  # of a task: how often it has been let run


def look(inquiry: Inquiry, threads: Sequence[SeenThread]) -> Iterator[SeenTask]:
    """Yield the tasks of every thread that runs trio, each with the lock it waits for."""
    for seen in threads:
        runner = _runner(seen)
        if runner is None:
            continue
        memory = LockMemory(inquiry, seen.process.pid)
        found = _addresses(memory.objects, runner) if memory.objects else ()
        if memory.objects is None or not found:
            inquiry.gaps.append(_unread(seen.process.pid))
            continue
        yield from _tasks(inquiry, memory, memory.objects, seen, found)


def is_task(objects: PyObjects, address: int) -> bool:
    """Whether an object is a task of trio."""
    return objects.is_a(address, *_TASKS)


def same(objects: PyObjects, seen: SeenTask) -> bool:
    """Whether a task has not run since it was read: trio counts how often it lets each run."""
    return objects.integer(objects.attribute(seen.actor.task_id, _RUN)) == seen.awaits


def _runner(seen: SeenThread) -> int | None:
    frames = seen.stack.frames if seen.stack else ()
    variables = (local for frame in frames if _CORE in frame.file for local in frame.locals)
    return next((local.address for local in variables if local.name == "runner"), None)


def _addresses(objects: PyObjects, runner: int) -> tuple[int, ...]:
    tasks = objects.attribute(runner, "tasks")
    return tuple(one for one in objects.elements(tasks, MOST) if is_task(objects, one)) if tasks else ()


def _tasks(
    inquiry: Inquiry, memory: LockMemory, objects: PyObjects, runner: SeenThread, found: Sequence[int]
) -> Iterator[SeenTask]:
    locks: dict[int, LockObject] = {}
    members: list[TaskMember] = []
    counts: dict[int, int] = {}
    children: dict[int, frozenset[int]] = {}  # those whose end a task waits for, by its nursery
    for address in found:
        coroutine = objects.attribute(address, "coro")
        stack, _ = frames.chain(objects, coroutine) if coroutine else ((), None)
        lock, nursery = _wanted(objects, stack), _nursery(stack)
        if nursery:
            children[nursery] = frozenset(
                objects.elements(objects.attribute(nursery, "_children") or 0, MOST)
            )
        if lock:
            locks[lock] = _lock(objects, lock)
        name = objects.text(objects.attribute(address, "name") or 0) or "?"
        counts[address] = objects.integer(objects.attribute(address, _RUN)) or 0
        waiting = task_members.Waiting(
            kind="task",
            address=address,
            name=name.rpartition(".")[2],
            frames=stack,
            awaits=nursery or 0,
            behind=(lock,) if lock else (),
            timed=_has_limit(objects, address),
        )
        members.append(task_members.member(inquiry, memory, runner, waiting))
    scenery = TaskScenery(members=members, locks=locks, completers=children, any_of=frozenset(), work={})
    waits = task_waits.link(scenery)
    for member in members:
        yield SeenTask(
            process=runner.process,
            actor=member.actor,
            kind="task",
            stack=member.stack,
            awaits=counts[member.address],
            wait=waits.get(member.address),
        )


def _wanted(objects: PyObjects, stack: Sequence[TaskFrame]) -> int | None:
    """The lock whose acquire() a task sleeps in."""
    for frame in stack[:_INNER]:
        own = dict(frame.locals).get("self", 0)
        if frame.where.function == "acquire" and objects.is_a(own, *_LOCKS):
            return own
    return None


def _nursery(stack: Sequence[TaskFrame]) -> int | None:
    """The nursery at whose end a task waits for the tasks that it has started there."""
    ends = (frame for frame in stack[:_INNER] if frame.where.function == "_nested_child_finished")
    return next((dict(frame.locals).get("self") for frame in ends), None)


def _lock(objects: PyObjects, address: int) -> LockObject:
    owner = objects.attribute(address, "_owner")
    owner = owner if owner and is_task(objects, owner) else None
    return LockObject(
        address=address,
        kind="trio-lock",
        type=objects.type_name(address),
        locked=owner is not None,
        owner_ident=owner,
    )


def _has_limit(objects: PyObjects, task: int) -> bool:
    """Whether one of the cancel scopes around a task has a deadline."""
    status = objects.attribute(task, "_cancel_status")
    for _ in range(_MOST_SCOPES):
        if not status or objects.is_none(status):
            return False
        scope = objects.attribute(status, "_scope")
        deadline = objects.attribute(scope, "_deadline") if scope else None
        limit = scalars.real(objects.memory, deadline) if deadline else None
        if limit is None or not math.isinf(limit):
            return True  # or it could not be read
        status = objects.attribute(status, "_parent")
    return True


def _unread(pid: int) -> Gap:
    return Gap(
        source="trio",
        hides=f"whether tasks of trio in pid {pid} wait for each other",
        reason="the memory of the process, where its tasks are, can not be read",
        hint="diag doctor says why, and what lifts it",
        blinds=CODES,
    )
