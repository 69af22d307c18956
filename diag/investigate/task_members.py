"""Makes of a task or greenlet what the links need: its stack in the form of a thread's, and what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors.pyobjects import green_locks, stacks
from diag.model.facts import Stack
from diag.waits.lock_sites import Releases, asking, releases
from diag.waits.python_locks import held_by
from diag.waits.python_locks.names import is_plain
from diag.waits.scene import actor, asked_at, is_library
from diag.waits.task import TaskMember
from diag.waits.thread_lock import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diag.collectors.pyobjects import PyObjects
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_memory import LockMemory
    from diag.model.facts import Where
    from diag.model.pyobjects import TaskFrame
    from diag.model.snapshot import SeenThread
    from diag.model.source import Ask, Source

_CONDITION = "asyncio.locks.Condition"
_MOST_FRAMES = 60
"""Frames of one task that are looked at, the innermost first."""


class Waiting(NamedTuple):
    """One task or greenlet as memory has it."""

    kind: str
    address: int
    name: str
    frames: Sequence[TaskFrame]
    awaits: int = 0
    behind: tuple[int, ...] = ()
    timed: bool = False
    runs: bool = False


def member(inquiry: Inquiry, memory: LockMemory, runner: SeenThread, waiting: Waiting) -> TaskMember:
    """Put together what memory and source say of one task; ``runner`` is the thread that runs its loop."""
    objects = memory.objects
    assert objects is not None
    stack = _stack(objects, runner, waiting.frames)
    sources = inquiry.sources(stack)
    own = tuple(frame for frame in stack.frames if not is_library(frame))
    ask = asking(replace(stack, frames=own), sources, blocked=True) if own and waiting.behind else None
    who = actor(runner.process, runner.thread, runner.stack)
    is_running = waiting.runs and not waiting.awaits
    return TaskMember(
        process=runner.process,
        actor=replace(
            who,
            where=asked_at(stack) or who.where,
            task=waiting.name,
            task_id=0 if is_running else waiting.address,
            task_kind=waiting.kind,
        ),
        kind=waiting.kind,
        address=waiting.address,
        stack=stack,
        held=dict(_held(memory, stack, sources, waiting.behind)),
        asks=ask.target if ask else "",
        releases=_releases(ask, sources) if ask else Releases(),
        awaits=waiting.awaits,
        behind=waiting.behind,
        timed=waiting.timed,
        runs=is_running,
    )


def _releases(ask: Ask, sources: Mapping[str, Source]) -> Releases:
    source = sources.get(ask.where.file)
    if source is None or not is_plain(ask.target):
        return Releases()
    return releases(source, ask.target, ask.where.line, tasks=True)


def _stack(objects: PyObjects, runner: SeenThread, frames: Sequence[TaskFrame]) -> Stack:
    return Stack(
        pid=runner.process.pid,
        tid=runner.thread.tid,
        thread=runner.stack.thread if runner.stack else None,
        frames=tuple(stacks.frame_of(objects, frame) for frame in frames[:_MOST_FRAMES]),
    )


def _held(
    memory: LockMemory, stack: Stack, sources: Mapping[str, Source], behind: tuple[int, ...]
) -> Iterator[tuple[int, Where]]:
    """Yield the lock and the line of each statement that holds one, the outer ones last.

    ``behind``: what is waited for: on the line of "async with lock: work()" it is being entered.
    """
    objects = memory.objects
    assert objects is not None
    released = _released(objects, stack)
    for held in held_by(stack, sources):
        address = memory.address(held.name) if held.name else None
        if address is None or address == released:
            continue
        if held.site.how == "call" and ".acquire(" not in held.site.expression:
            continue  # a function that is only named as if it took a lock it is given
        is_condition = objects.is_a(address, _CONDITION)
        inner = objects.attribute(address, "_lock") if is_condition else green_locks.inner(objects, address)
        on_its_line = stack.frames[held.frame].line == held.site.where.line
        if not (on_its_line and (inner or address) in behind):
            yield inner or address, held.site.where


def _released(objects: PyObjects, stack: Stack) -> int | None:
    """The condition whose lock a task has given back while it waits to be notified."""
    frame = stack.frames[0] if stack.frames else None
    if frame is None or frame.function != "wait":
        return None
    own = next((local.address for local in frame.locals if local.name == "self"), None)
    return own if own and objects.is_a(own, _CONDITION) else None


def runner(threads: Sequence[SeenThread], ident: int | None, timers: int | None) -> SeenThread | None:
    """Find the thread that runs a loop; of a loop in C, whose fields are unknown, the one inside asyncio."""
    if ident is not None:
        return next((seen for seen in threads if seen.stack and seen.stack.ident == ident), None)
    if timers is not None:
        return None
    inside = [
        seen
        for seen in threads
        if seen.stack and any("/asyncio/" in frame.file for frame in seen.stack.frames)
    ]
    return inside[0] if len(inside) == 1 else None


def of_threads(threads: Iterable[SeenThread]) -> Iterator[Member]:
    """Yield the threads in the form in which the links of thread locks know them."""
    for seen in threads:
        if seen.stack and seen.wait:
            yield Member(process=seen.process, thread=seen.thread, stack=seen.stack, held=(), wait=seen.wait)
