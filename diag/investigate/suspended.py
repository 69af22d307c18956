"""What a thread runs in turn and has put aside: tasks, coroutines of other loops, greenlets.

Each is given the form of a thread's stack, so that what reads those reads these. Memory tells all of it, and
nobody is stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import threads
from diag.collectors.pyobjects import asyncio_tasks, coroutines, greenlets, loops, stacks
from diag.investigate.suspects import LOOPS
from diag.model.facts import Stack
from diag.waits.lock_sites.places import is_stdlib, package

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Where
    from diag.model.graph import Actor
    from diag.model.pyobjects import TaskFrame

_MOST_FRAMES = 60
"""Frames of one of them that are looked at, the innermost first."""
_TRIES = 5
_PAUSE = 0.003
"""Seconds after which a loop that was awake mostly sleeps again."""


class Suspended(NamedTuple):
    """One task, coroutine or greenlet that does not run now."""

    kind: str
    name: str
    address: int
    stack: Stack


class Searched(NamedTuple):
    """Addresses that took a search of all memory: it is made once a process."""

    coroutines: tuple[int, ...]
    greenlets: tuple[int, ...]


class All(NamedTuple):
    """Everything a process has put aside."""

    found: tuple[Suspended, ...] = ()
    calls: tuple[Where, ...] = ()  # functions that a loop will call later
    read: bool = True  # False: its memory can not be read
    searched: Searched | None = None  # where the greenlets are, and the coroutines of loops that list none
    whole: bool = True  # False: its loop ran meanwhile, at each try: what was read may be torn


def look(inquiry: Inquiry, pid: int) -> All:
    """Read all that a process has put aside, as it was when first asked for."""
    if pid not in inquiry.suspended:
        inquiry.suspended[pid] = _read(inquiry, pid)
    return inquiry.suspended[pid]


def runs_loop(inquiry: Inquiry, pid: int) -> bool:
    """Whether the stack of a thread shows an event loop whose tasks can be found without a search."""
    frames = (frame for stack in inquiry.stacks(pid) for frame in stack.frames)
    return pid in inquiry.suspended or any("/asyncio/" in frame.file for frame in frames)


def again(inquiry: Inquiry, pid: int) -> All:
    """Read it once more; the first sample is kept."""
    if objects := inquiry.objects(pid):
        objects.forget()
    known = inquiry.suspended.get(pid)
    return _read(inquiry, pid, known.searched if known else None)


def stack_of(inquiry: Inquiry, actor: Actor) -> Stack | None:
    """The stack of a thread, or of the task or greenlet that it runs."""
    if not actor.task_id:
        return inquiry.stack(actor.pid, actor.tid) if actor.tid else None
    known = inquiry.suspended.get(actor.pid)
    return next((one.stack for one in known.found if one.address == actor.task_id), None) if known else None


def entered(stack: Stack) -> Stack:
    """Leave out what the loop's own sleep does inside: the stack begins with the function that was called."""
    frames = stack.frames
    inner = 0
    while inner + 1 < len(frames) and _home(frames[inner + 1].file) == _home(frames[0].file) is not None:
        inner += 1
    return replace(stack, frames=frames[inner:])


def _home(file: str) -> str | None:
    return "" if is_stdlib(file) else package(file)


def _read(inquiry: Inquiry, pid: int, searched: Searched | None = None) -> All:
    """Read until the loop has slept all the while, or several times: it takes some milliseconds each."""
    objects = inquiry.objects(pid)
    if objects is None:
        return All(read=False)
    found = All()
    for turn in range(_TRIES):
        if turn:
            objects.forget()
            inquiry.host.sleep(_PAUSE)
        tid = _runner(inquiry, pid)
        ran = _ran(inquiry, pid, tid)
        found = _read_once(objects, pid, tid, found.searched or searched)
        if tid is not None and ran == _ran(inquiry, pid, tid):
            return found
    return found._replace(whole=False)


def _ran(inquiry: Inquiry, pid: int, tid: int | None) -> bytes:
    """What changes whenever a thread has run; nothing where the kernel does not tell."""
    try:
        return inquiry.host.read(f"/proc/{pid}/task/{tid}/schedstat", 4096) if tid else b""
    except OSError:
        return b""


def _read_once(objects: PyObjects, pid: int, tid: int | None, searched: Searched | None) -> All:
    tasks = asyncio_tasks.tasks(objects)
    searched = searched or Searched(
        () if tasks else coroutines.search(objects),
        tuple(one.address for one in greenlets.greenlets(objects)),
    )
    seen = [loops.describe(objects, one) for one in sorted({task.loop for task in tasks if task.loop})]

    def made(kind: str, name: str | None, address: int, found: Sequence[TaskFrame]) -> Suspended:
        stack = Stack(
            pid=pid,
            tid=tid,
            thread=None,
            frames=tuple(stacks.frame_of(objects, frame) for frame in found[:_MOST_FRAMES]),
        )
        does = found[-1].where.function if found else ""
        return Suspended(kind, f"{name} ({does})" if name else does, address, stack)

    found = [made("task", task.name, task.address, task.frames) for task in tasks if not task.running]
    chains = coroutines.roots(objects, searched.coroutines)
    found += [made("task", None, address, chain) for address, chain in chains.items()]
    green = (greenlets.greenlet(objects, address) for address in searched.greenlets)
    found += [made("greenlet", None, one.address, one.frames) for one in green if one]
    return All(
        found=tuple(one for one in found if one.stack.frames),
        calls=tuple(place for loop in seen for place in loop.calls),
        searched=searched,
    )


def _runner(inquiry: Inquiry, pid: int) -> int | None:
    """The thread that runs the loop: the only one that sleeps as loops do."""
    idle = [tid for tid, call in threads.syscalls(inquiry.host, pid) if call and call.name in LOOPS]
    return idle[0] if len(idle) == 1 else None
