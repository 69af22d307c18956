"""Threads that look again and again whether a child process, or a thread, has ended: they wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import process as processes
from diag.collectors.pyobjects import threads as thread_objects
from diag.investigate import poll_looks
from diag.investigate.lock_memory import LockMemory
from diag.model.facts import Evidence
from diag.model.graph import Hold, How, Resource
from diag.waits.lock_sites import watching
from diag.waits.python_locks import name_of
from diag.waits.scene import actor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Stack
    from diag.model.graph import Actor, Wait
    from diag.model.snapshot import SeenThread
    from diag.waits.lock_sites.watching import Watch

_KINDS = frozenset({"sleep", "thread", "poll", "select", "futex", "event", "condition", "pipe", "child"})
"""What a thread sleeps for that pauses: time itself, or something else with a time limit."""
_MOST = 1000
"""Elements of one container that are looked at."""
_NAMED = 3


class _Ends(NamedTuple):
    """Whose end a loop waits for."""

    children: tuple[int, ...]  # pids
    threads: tuple[int, ...]  # what pthread_self() is in them
    certain: bool


def refine(inquiry: Inquiry, threads: Sequence[SeenThread]) -> list[SeenThread]:
    """Say of each thread that pauses between two such looks for whose end it waits."""
    runs = not inquiry.ended
    return [
        _link(inquiry, seen, threads) or seen if _may_watch(seen, runs=runs) else seen for seen in threads
    ]


def again(inquiry: Inquiry, threads: Sequence[SeenThread]) -> tuple[SeenThread, ...]:
    """Look a second time: such a wait is stuck while the thread still looks for the end of the same ones."""
    return poll_looks.again(inquiry, threads, _is_poll, _stays)


def _is_poll(seen: SeenThread) -> bool:
    wait = seen.wait
    return wait is not None and wait.how is How.POLLING and wait.resource.kind in ("child", "thread")


def _may_watch(seen: SeenThread, *, runs: bool) -> bool:
    wait = seen.wait
    if wait is None or seen.stack is None:
        return False
    if wait.how is How.RUNNING:
        return runs  # it may be in the middle of a look
    return wait.resource.kind in _KINDS and wait.how in (How.TIMED, How.IDLE)


def _stays(inquiry: Inquiry, seen: SeenThread, stack: Stack) -> bool:
    watch = watching(stack, inquiry.sources(stack))
    where = seen.wait.where if seen.wait else None
    if (
        watch is None
        or where is None
        or (watch.where.file, watch.where.function) != (where.file, where.function)
    ):
        return False
    holders = seen.wait.holds if seen.wait else ()
    return all(_lives(inquiry, hold.holder) for hold in holders)


def _lives(inquiry: Inquiry, holder: Actor) -> bool:
    return processes.started(inquiry.host, holder.pid) == holder.started


def _link(inquiry: Inquiry, seen: SeenThread, threads: Sequence[SeenThread]) -> SeenThread | None:
    assert seen.stack
    watch = watching(seen.stack, inquiry.sources(seen.stack))
    if watch is None:
        return None
    ends = _ends(inquiry, seen, seen.stack, watch)
    if ends.children:
        return replace(seen, wait=_for_children(inquiry, seen, watch, ends))
    wait = _for_thread(seen, watch, ends, threads)
    return replace(seen, wait=wait) if wait else None


def _for_children(inquiry: Inquiry, seen: SeenThread, watch: Watch, ends: _Ends) -> Wait:
    some = [process for pid in ends.children if (process := inquiry.process(pid))]
    named = ", ".join(f"{process.pid} ({process.name})" for process in some[:_NAMED])
    more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    name = f"child {named}" if len(some) == 1 else f"its {len(some)} children {named}{more}"
    pids = ",".join(str(process.pid) for process in some)
    resource = Resource(kind="child", key=f"child:{pids}", name=f"{name} to end")
    return _wait(seen, watch, resource, tuple(map(actor, some)), certain=ends.certain)


def _for_thread(seen: SeenThread, watch: Watch, ends: _Ends, threads: Sequence[SeenThread]) -> Wait | None:
    pid = seen.process.pid
    found = [
        actor(other.process, other.thread, other.stack)
        for other in threads
        if other.process.pid == pid and other is not seen
        if other.stack and other.stack.ident in ends.threads
    ]
    if not found:
        return None
    named = ", ".join(f"thread {one.thread or ''} ({one.tid})" for one in found[:_NAMED])
    key = f"{pid}:{','.join(str(one.tid) for one in found)}"
    resource = Resource(kind="thread", key=f"thread:{key}", name=f"{named} to end of pid {pid}")
    return _wait(seen, watch, resource, tuple(found), certain=ends.certain)


def _wait(
    seen: SeenThread, watch: Watch, resource: Resource, holders: tuple[Actor, ...], *, certain: bool
) -> Wait:
    assert seen.wait
    why = Evidence(
        source=f"py-spy dump --locals --pid {seen.process.pid}",
        text=f"{watch.where}: it sleeps between two looks at whether they have ended",
    )
    verb = "polls for a limited time for" if watch.limited else "polls for"
    return replace(
        seen.wait,
        resource=resource,
        how=How.TIMED if watch.limited else How.POLLING,
        words=f"{verb} {resource.name.partition(' of pid ')[0]}, {watch.where}",
        where=watch.where,
        holds=tuple(Hold(holder=holder, resource=resource, certain=certain) for holder in holders),
        certain=certain,
        evidence=(*seen.wait.evidence, why),
    )


def _ends(inquiry: Inquiry, seen: SeenThread, stack: Stack, watch: Watch) -> _Ends:
    """Find the living children, or else the threads, that the expressions of a loop lead to."""
    pid = seen.process.pid
    children = dict(_children(inquiry, pid))
    memory = LockMemory(inquiry, pid)
    found: set[int] = {children[number] for number in watch.numbers if number in children}
    idents: set[int] = set()
    if memory.objects is not None:
        frame = stack.frames[watch.frame]
        for expression in watch.subjects:
            name = name_of(frame, expression)
            address = memory.address(name) if name else None
            for number, ident in _behind(memory.objects, address) if address else ():
                found.update({children[number]} if number in children else ())
                idents.update({ident} if ident else ())
    if not found and watch.everybody:
        found.update(children.values())
        return _Ends(tuple(sorted(found)), (), certain=memory.objects is not None)
    return _Ends(tuple(sorted(found)), tuple(sorted(idents)), certain=True)


def _children(inquiry: Inquiry, pid: int) -> Iterator[tuple[int, int]]:
    """Yield the children that have not ended: the number their parent knows them by, and ours."""
    for one in processes.family(inquiry.host, pid):
        process = inquiry.process(one)
        if process and process.ppid == pid and process.state not in "ZX":
            yield process.container_pid or process.pid, process.pid


def _behind(objects: PyObjects, address: int, depth: int = 3) -> Iterator[tuple[int, int]]:
    """Yield (pid, 0) of each process and (0, ident) of each thread that an object stands for or contains."""
    number = _pid(objects, address)
    if number:
        yield number, 0
        return
    if thread := thread_objects.thread(objects, address):
        yield 0, thread.ident or 0
        return
    if depth == 0:
        return
    inside = [*objects.elements(address, _MOST)]
    for pair in objects.items(address)[:_MOST]:
        inside.extend(pair)
    if not inside and depth < 3:  # an object of the program's own that has a process: worker.process
        inside = list(objects.attributes(address).values())
        depth = 1
    for one in inside:
        yield from _behind(objects, one, depth - 1)


def _pid(objects: PyObjects, address: int) -> int:
    """The number of the process that an object stands for: the number itself, or its attribute pid."""
    if number := objects.integer(address):
        return number
    started = objects.attribute(address, "_popen") or address  # multiprocessing.Process
    return objects.integer(objects.attribute(started, "pid", "_pid")) or 0
