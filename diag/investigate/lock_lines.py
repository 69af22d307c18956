"""Adds the lines of code: where a lock was taken, where it is asked for, what came in between."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate import lock_names, lock_objects, sqlite_threads, suspended
from diag.model.facts import Evidence
from diag.model.graph import Handler, Hold, How
from diag.model.source import Sure
from diag.waits import lock_sites

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Stack, Where
    from diag.model.graph import Actor, Wait
    from diag.model.source import Ask, Retaken, Site

MOST_UNWAITED = 8
"""Locks nobody waits for whose holders' stacks are read, only to show the line that took them."""


def describe_wait(inquiry: Inquiry, wait: Wait) -> Wait:
    """Say which line of the waiting thread asked, and whether the same thread took the lock before."""
    waiter = wait.waiter
    stack = suspended.stack_of(inquiry, waiter)
    if stack is None:
        return wait
    if waiter.task_id:
        stack = suspended.entered(stack)
    sources = inquiry.sources(stack)
    kernel = wait.how is not How.POLLING  # it is asleep in the call: who asked is the only question
    again = lock_sites.retaken(stack, sources, wait.resource.path, blocked=kernel)
    ask = again.ask if again else lock_sites.asking(stack, sources, blocked=kernel)
    doing = lock_sites.doing(stack, sources)
    where = ask.where if ask else doing.where if doing else None
    actor = replace(
        inquiry.actor(waiter.pid, waiter.tid, where),
        task=waiter.task,
        task_id=waiter.task_id,
        task_kind=waiter.task_kind,
    )
    if again and not wait.holds and wait.resource.kind == "soft-lock" and again.sure is not Sure.PATTERN:
        wait = replace(wait, holds=(_made(wait, actor, again),))
    own = any(hold.holder.pid == waiter.pid and not hold.passive for hold in wait.holds)
    if again is None or not own:
        return replace(wait, waiter=actor, where=where)
    return replace(
        wait,
        waiter=actor,
        where=where,
        retaken=again.site.where,
        handler=_handler(inquiry, stack, again),
        certain=wait.certain and (again.sure is not Sure.PATTERN or wait.how is How.BLOCKED),
        holds=tuple(_own(hold, actor, again) for hold in wait.holds),
        evidence=(*wait.evidence, Evidence(source=f"py-spy dump --pid {stack.pid}", text=again.why)),
    )


def retaken_at(inquiry: Inquiry, wait: Wait, stack: Stack) -> Where | None:
    """The line of a stack that took what the same stack waits for, as ``describe_wait`` finds it."""
    sources = inquiry.sources(stack)
    again = lock_sites.retaken(stack, sources, wait.resource.path, blocked=wait.how is not How.POLLING)
    return again.site.where if again else None


def _made(wait: Wait, waiter: Actor, again: Retaken) -> Hold:
    """The hold of a lock by existence that names nobody, and that the waiter's own stack shows it made."""
    return Hold(
        holder=waiter,
        resource=wait.resource,
        taken_at=again.site.where,
        certain=False,
        evidence=(Evidence(source=f"py-spy dump --pid {waiter.pid}", text=f"taken: {again.site.where}"),),
    )


def share_makers(graph: LockGraph) -> None:
    """Make whoever was found to have made a lock by existence its holder for all who wait for it."""
    polled = [wait for wait in graph.waits if wait.resource.kind == "soft-lock"]
    made = {wait.resource.key: wait.holds for wait in polled if wait.holds}
    for wait in polled:
        if not wait.holds and (holds := made.get(wait.resource.key)):
            graph.replace(wait, replace(wait, holds=holds))
            graph.soft[wait.resource.path or ""] = holds


def _own(hold: Hold, waiter: Actor, again: Retaken) -> Hold:
    """Narrow a hold of the waiter's process down to the thread and line that its stack shows."""
    if hold.holder.pid != waiter.pid or hold.passive:
        return hold
    return replace(hold, holder=waiter, taken_at=again.site.where)


def _handler(inquiry: Inquiry, stack: Stack, again: Retaken) -> Handler | None:
    found = lock_sites.handler_between(stack, again.outer, again.ask.inner)
    if found is None:
        return None
    name = f"{found.name} handler" if found.kind == "signal" else found.kind
    sender = _sender(inquiry, stack.pid) if found.kind == "signal" else None
    return Handler(name=name, where=found.where, sender=sender)


def _sender(inquiry: Inquiry, pid: int) -> Actor | None:
    """Find the parent's line that keeps sending signals, if its stack stands in such a loop."""
    process = inquiry.process(pid)
    if process is None or process.ppid <= 1:
        return None
    for stack in inquiry.stacks(process.ppid):
        if where := lock_sites.signaller(stack, inquiry.sources(stack), frozenset({pid})):
            return inquiry.actor(stack.pid, stack.tid, where)
    return None


def describe_holds(inquiry: Inquiry, graph: LockGraph, unwaited: int = MOST_UNWAITED) -> None:
    """Add the line that took each lock that matters; where nobody waits, only of the first few."""
    waited = {
        hold.resource.key
        for wait in graph.waits
        if inquiry.has_stacks(wait.waiter.pid)
        for hold in wait.holds
    }
    held = [(lock, graph.resource_of(lock).key) for lock in graph.held()]
    urgent = [lock for lock, key in held if key in waited]
    asked = [lock for lock, _ in held if graph.files.is_asked(lock)]
    for lock in urgent or asked[:unwaited]:
        names = graph.files.names_of(lock)
        holds = tuple(describe_hold(inquiry, hold, names) for hold in graph.holds(lock))
        graph.set_holds(lock, tuple(sqlite_threads.narrowed(inquiry, hold, graph.waits) for hold in holds))


def describe_hold(inquiry: Inquiry, hold: Hold, names: frozenset[str]) -> Hold:
    """Say which thread of the holder took the lock and on which line, where its stacks show it."""
    if hold.taken_at is not None or (hold.passive and not inquiry.has_stacks(hold.holder.pid)):
        return hold
    if hold.taker and (hold.handed or not hold.inherited):
        return _busy(inquiry, hold)  # no line of its own took it
    found = list(_taken(inquiry, hold, names, inquiry.stacks(hold.holder.pid)))
    if not found:
        return _in_task(inquiry, hold, names) or _busy(inquiry, hold)
    stack, site = found[0]
    doing = lock_sites.doing(stack, inquiry.sources(stack))
    tid = stack.tid or hold.holder.pid
    return replace(
        hold,
        holder=inquiry.actor(hold.holder.pid, tid, doing.where if doing else None),
        taken_at=site.where,
    )


def _busy(inquiry: Inquiry, hold: Hold) -> Hold:
    """Without a line that took it: show what the main thread does."""
    pid = hold.holder.pid
    stack = inquiry.stack(pid, pid)
    doing = lock_sites.doing(stack, inquiry.sources(stack)) if stack else None
    if doing is None:
        return hold
    return replace(hold, holder=inquiry.actor(pid, hold.holder.tid, doing.where))


def _in_task(inquiry: Inquiry, hold: Hold, names: frozenset[str]) -> Hold | None:
    """Say which task of an event loop took the lock, where no thread's stack shows who did."""
    pid = hold.holder.pid
    if not suspended.runs_loop(inquiry, pid):
        return None
    for one in suspended.look(inquiry, pid).found:
        if taken := taken_at(inquiry, hold, names, one.stack):
            doing = lock_sites.doing(one.stack, inquiry.sources(one.stack))
            actor = inquiry.actor(pid, one.stack.tid, doing.where if doing else None)
            actor = replace(actor, task=one.name, task_id=one.address, task_kind=one.kind)
            return replace(hold, holder=actor, taken_at=taken)
    return None


def taken_at(inquiry: Inquiry, hold: Hold, names: frozenset[str], stack: Stack) -> Where | None:
    """The line of one stack that took a lock of one of these ``names``."""
    return next((site.where for _, site in _taken(inquiry, hold, names, (stack,))), None)


def _taken(
    inquiry: Inquiry, hold: Hold, names: frozenset[str], stacks: Iterable[Stack]
) -> Iterator[tuple[Stack, Site]]:
    for stack in stacks:
        sources = inquiry.sources(stack)
        if site := lock_sites.holding(stack, sources, names, hold.fd):
            yield stack, site


def names_of(inquiry: Inquiry, pid: int, path: str) -> str:
    """Make a path that a process names absolute, as that process would."""
    if path.startswith("/"):
        return posixpath.normpath(path)
    try:
        return posixpath.normpath(posixpath.join(inquiry.host.link(f"/proc/{pid}/cwd"), path))
    except OSError:
        return path


def asked_paths(inquiry: Inquiry, stack: Stack, ask: Ask) -> Iterator[tuple[str, str]]:
    """Yield the paths a thread asks for, absolute, each with the words for what names it.

    Where no local names a lock, its object may: filelock 2.0 keeps the path in an attribute alone.
    """
    for path in ask.paths:
        yield names_of(inquiry, stack.pid, path), f"a local names {path}"
    if ask.lock == "thread" or any("lock" in path.lower() for path in ask.paths):
        return
    for path, name in lock_objects.paths(inquiry, stack.pid, ask.addresses):
        yield names_of(inquiry, stack.pid, path), f"its object's {name} in memory names {path}"
    for path, why in lock_names.paths(inquiry, stack, ask):
        yield names_of(inquiry, stack.pid, path), why
