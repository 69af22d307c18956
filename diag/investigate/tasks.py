"""The asyncio tasks of the processes along the wait chains: what each waits for, and who has that."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors.pyobjects import asyncio_tasks, callbacks, futures, loops
from diag.investigate import greenlets, task_members, trio_tasks
from diag.investigate.future_waits import Futures
from diag.investigate.lock_memory import LockMemory
from diag.model.facts import Evidence, Gap
from diag.model.graph import Hold, Resource
from diag.model.snapshot import SeenTask
from diag.waits import task as task_waits
from diag.waits.task import JOIN, TaskMember, TaskScenery, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.pyobjects import LockObject, LoopObject, TaskObject
    from diag.model.snapshot import SeenThread

CODES = frozenset({"T005", "T009", "T010", "T012"})
"""Rules that tasks which cannot be read may blind."""
_GATHERED = "asyncio.tasks._GatheringFuture"
_PAUSES = (0.0, 0.011, 0.023, 0.037, 0.053)
"""Seconds before each look: uneven, so that tasks which take turns are met at different points."""
_FIRST = "FIRST_COMPLETED"


class Looked(NamedTuple):
    """Tasks, and threads whose waits are better known because of them."""

    tasks: tuple[SeenTask, ...]
    threads: tuple[SeenThread, ...]


def look(inquiry: Inquiry, threads: Sequence[SeenThread]) -> Looked:
    """Read the tasks of every process that runs an asyncio loop, and say what they wait for."""
    found: list[SeenTask] = []
    better: dict[tuple[int, int], SeenThread] = {}
    for pid in dict.fromkeys(seen.process.pid for seen in threads if _runs_loop(seen)):
        group = [seen for seen in threads if seen.process.pid == pid]
        memory = LockMemory(inquiry, pid)
        if memory.objects is None:
            inquiry.gaps.append(_unread(group[0]))
            continue
        tasks = _Tasks(inquiry, memory, memory.objects, group)
        found.extend(tasks.seen())
        known = (*tasks.threads(), *tasks.behind_tasks(), *tasks.lonely())
        better.update({(pid, seen.thread.tid): seen for seen in known})
    found.extend(trio_tasks.look(inquiry, threads))
    green = greenlets.look(inquiry, threads)
    better.update(green.threads)
    return Looked(
        (*found, *green.tasks),
        tuple(better.get((seen.process.pid, seen.thread.tid), seen) for seen in threads),
    )


def again(inquiry: Inquiry, tasks: Iterable[SeenTask]) -> tuple[SeenTask, ...]:
    """Look again: a task's wait is stuck when it still waits for the same future.

    Several times, for a new future soon gets the place in memory of one that is gone.
    """
    known = tuple(tasks)
    same = {n for n, seen in enumerate(known) if seen.wait}
    for pause in _PAUSES:
        if not same:
            break
        inquiry.host.sleep(pause)
        for pid in {known[n].process.pid for n in same}:
            if objects := inquiry.objects(pid):
                objects.forget()
        same = {n for n in same if _stays(inquiry, known[n])}
    return tuple(
        replace(seen, wait=seen.wait and replace(seen.wait, stuck=n in same)) for n, seen in enumerate(known)
    )


def _stays(inquiry: Inquiry, seen: SeenTask) -> bool:
    objects = inquiry.objects(seen.process.pid)
    if objects is None:
        return False
    if trio_tasks.is_task(objects, seen.actor.task_id):
        return trio_tasks.same(objects, seen)
    return (greenlets.same if seen.kind == greenlets.KIND else _same)(objects, seen)


def _same(objects: PyObjects, seen: SeenTask) -> bool:
    task = seen.actor.task_id
    waits = futures.waits_for(objects, task)
    return waits == seen.awaits and futures.state(objects, task) == "PENDING" == futures.state(
        objects, waits or 0
    )


def _runs_loop(seen: SeenThread) -> bool:
    return any("/asyncio/" in frame.file for frame in (seen.stack.frames if seen.stack else ()))


def _wants_lock(seen: SeenThread) -> bool:
    wait, call = seen.wait, seen.thread.syscall
    return wait is not None and call is not None and wait.resource.kind == "thread-lock" and not wait.holds


def _unread(seen: SeenThread) -> Gap:
    return Gap(
        source="asyncio",
        hides=f"whether tasks of the event loop in pid {seen.process.pid} wait for each other",
        reason="the memory of the process, where its tasks are, can not be read",
        hint="diag doctor says why, and what lifts it",
        blinds=CODES,
    )


class _Tasks:
    """The tasks of one process."""

    def __init__(
        self, inquiry: Inquiry, memory: LockMemory, objects: PyObjects, threads: Sequence[SeenThread]
    ) -> None:
        self._inquiry, self._memory, self._objects = inquiry, memory, objects
        self._threads = threads
        self._process = threads[0].process
        self._tasks = asyncio_tasks.tasks(objects)
        self._loops: dict[int, LoopObject] = {}
        for one in self._tasks:
            if one.loop and one.loop not in self._loops:
                self._loops[one.loop] = loops.describe(objects, one.loop)
        self._ends = self._by_end()
        self._members = tuple(filter(None, map(self._member, self._tasks)))
        self._awaits = {one.address: one.awaits.address for one in self._tasks if one.awaits}

    def seen(self) -> Iterator[SeenTask]:
        """Yield each task with its wait."""
        work = Futures(tuple(task_members.of_threads(self._threads)), self._objects)
        scenery = TaskScenery(
            members=self._members,
            locks=self._locks(),
            completers=self._ends,
            any_of=frozenset(self._any_of()),
            gathered=frozenset(one for one in self._awaits.values() if self._objects.is_a(one, _GATHERED)),
            work={future: found for future in self._awaits.values() if (found := self._work(work, future))},
        )
        waits = task_waits.link(scenery)
        for member in self._members:
            yield SeenTask(
                process=self._process,
                actor=member.actor,
                kind=member.kind,
                stack=member.stack,
                awaits=member.awaits,
                wait=waits.get(member.address),
            )

    def threads(self) -> Iterator[SeenThread]:
        """Yield the threads that wait for the result of a task, with the task as what holds them up."""
        by_address = {member.address: member for member in self._members}
        for seen in self._threads:
            wait = seen.wait
            if wait is None or wait.resource.kind != "future" or wait.holds:
                continue
            future = int(wait.resource.key.rpartition(":")[2], 16)
            ending = [by_address[one] for one in sorted(self._ends.get(future, ())) if one in by_address]
            if not ending:
                continue
            resource = Resource(kind=JOIN, key=wait.resource.key, name=f"task {ending[0].actor.task} to end")
            words = wait.words.replace(wait.resource.name, resource.name, 1)
            holds = tuple(Hold(holder=each.actor, resource=resource) for each in ending)
            yield replace(seen, wait=replace(wait, resource=resource, words=words, holds=holds))

    def behind_tasks(self) -> Iterator[SeenThread]:
        """Yield the threads that wait for a lock of threads which a suspended task has."""
        waiting = [seen for seen in self._threads if _wants_lock(seen)]
        if not waiting:
            return
        held = sorted({lock for member in self._members for lock in member.held})
        locks = {address: self._memory.lock(("object", address, "")) for address in held}
        words = {address: frozenset(lock.futex_words) for address, lock in locks.items() if lock}
        for seen in waiting:
            call = seen.thread.syscall
            assert seen.wait is not None
            assert call is not None
            for word in self._memory.slept_on(call.arguments[0]):
                wait = task_waits.for_thread(seen.wait, word, self._members, words)
                if wait is not seen.wait:
                    yield replace(seen, wait=wait)

    def lonely(self) -> Iterator[SeenThread]:
        """Yield the threads that sleep in a loop which nothing but a thread or a signal can wake."""
        for loop in self._loops.values():
            if loop.timers != 0 or loop.ready != 0 or loop.watched != ():
                continue
            if runner := task_members.runner(self._threads, loop.ident, loop.timers):
                text = f"{loop.type} at {loop.address:#x}: no timer, nothing due, no descriptor but its own"
                evidence = Evidence(source=f"/proc/{self._process.pid}/mem", text=text)
                yield replace(runner, lonely_loop=evidence)

    def _member(self, task: TaskObject) -> TaskMember | None:
        loop = self._loops.get(task.loop or 0)
        runner = task_members.runner(
            self._threads, loop.ident if loop else None, loop.timers if loop else None
        )
        if runner is None or loop is None:
            return None  # its loop is not running
        awaits = task.awaits.address if task.awaits else 0
        return task_members.member(
            self._inquiry,
            self._memory,
            runner,
            task_members.Waiting(
                kind="task",
                address=task.address,
                name=_name(task),
                frames=task.frames,
                awaits=awaits,
                behind=task.waits_for,
                timed=not loop.timed.isdisjoint((task.address, awaits)) or _has_limit(self._objects, task),
                runs=task.running,
            ),
        )

    def _locks(self) -> dict[int, LockObject]:
        wanted = {address for task in self._tasks for address in task.waits_for}
        found = ((address, asyncio_tasks.describe(self._objects, address)) for address in sorted(wanted))
        return {address: lock for address, lock in found if lock}

    def _by_end(self) -> dict[int, frozenset[int]]:
        """For each future, the tasks whose end completes it: their callbacks hold it."""
        found: dict[int, set[int]] = {}
        for task in self._tasks:
            for one in callbacks.held(self._objects, futures.callbacks(self._objects, task.address)):
                found.setdefault(one, set()).add(task.address)
        return {future: frozenset(tasks) for future, tasks in found.items()}

    def _any_of(self) -> Iterator[int]:
        """Yield the futures of asyncio.wait() that the first task to end completes."""
        for task in self._tasks:
            values = dict(task.frames[0].locals) if task.frames else {}
            if task.awaits and self._objects.text(values.get("return_when", 0)) == _FIRST:
                yield task.awaits.address

    def _work(self, known: Futures, future: int) -> Work | None:
        """Who works on a future of an executor: asyncio's own is chained to it by a callback."""
        for one in sorted(callbacks.held(self._objects, futures.callbacks(self._objects, future))):
            if self._objects.is_a(one, futures.THREAD_FUTURE):
                return known.work(self._process.pid, one)
        return None


def _name(task: TaskObject) -> str:
    does = task.frames[-1].where.function if task.frames else "not begun"
    return f"{task.name} ({does})" if task.name else f"{does} at {task.address:#x}"


def _has_limit(objects: PyObjects, task: TaskObject) -> bool:
    """Whether one of its frames is asyncio's own wait with a time limit (loops in C show no timers)."""
    for frame in task.frames:
        if frame.where.function in ("wait_for", "_wait") and frame.where.file.endswith("/asyncio/tasks.py"):
            limit = dict(frame.locals).get("timeout")
            return limit is not None and not objects.is_none(limit)
    return False
