"""Waiters that the kernel does not list: they try a lock, sleep, and try again.

The stacks of those who may do so are read without stopping them, as they are only suspects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate import lock_lines, soft_locks
from diag.investigate.lock_files import id_of
from diag.model.facts import Evidence
from diag.model.graph import How, Resource, Wait
from diag.model.source import Sure
from diag.waits import lock_sites

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.investigate.suspects import Suspects
    from diag.model.facts import Stack
    from diag.model.source import Ask

LOOKS = 4
"""Second looks at a poller: it sleeps most of the time, but nobody stops it for us."""
PAUSE = 0.02
"""Seconds between them: long enough for a try to end, no multiple of a usual poll interval."""


def add(inquiry: Inquiry, graph: LockGraph, wanted: dict[str, Resource], found: Suspects) -> None:
    """Link every thread of the suspects that polls for one of ``wanted`` (by absolute path)."""
    inquiry.read_stacks(found.likely, pause=False)
    inquiry.read_stacks(found.possible, pause=False, suspects=True)
    stacks = {pid: inquiry.stacks(pid) for pid in (*found.likely, *found.possible)}
    for turn in range(LOOKS):
        waits = [wait for pid in stacks for wait in _links(inquiry, graph, stacks[pid], wanted)]
        graph.waits.extend(waits)
        polled = {wait.where.file for wait in graph.waits if wait.where and wait.how is How.POLLING}
        linked = {wait.waiter.pid for wait in waits}
        left = [pid for pid in stacks if pid not in linked and may_be_trying(stacks[pid], polled, wanted)]
        if turn == 0 and graph.waits:  # where some wait, more may
            left += found.awake
        if not left or turn == LOOKS - 1:
            return
        inquiry.host.sleep(PAUSE)
        likely = [pid for pid in left if pid in found.likely]
        stacks = inquiry.fresh_stacks(likely)
        stacks.update(inquiry.fresh_stacks([pid for pid in left if pid not in likely], suspects=True))


def _links(
    inquiry: Inquiry, graph: LockGraph, stacks: Iterable[Stack], wanted: dict[str, Resource]
) -> Iterator[Wait]:
    for stack in stacks:
        if wait := link(inquiry, graph, stack, wanted):
            yield wait


def may_be_trying(stacks: Sequence[Stack], polled: Container[str], wanted: Container[str]) -> bool:
    """Whether a process that was not asleep between two tries may have been in the middle of one.

    A stack read without a stop may be torn; a frame of it is in a file whose code others poll with, or has
    the path of a lock that is asked about.
    """
    frames = [frame for stack in stacks for frame in stack.frames]
    return any(
        frame.file in polled or any(local.value.strip("'\"") in wanted for local in frame.locals)
        for frame in frames
    )


def link(inquiry: Inquiry, graph: LockGraph, stack: Stack, wanted: dict[str, Resource]) -> Wait | None:
    """Link one thread, if its stack says that it polls for one of ``wanted`` (by absolute path)."""
    sources = inquiry.sources(stack)
    ask = lock_sites.asking(stack, sources)
    if ask is None or ask.how != "polling" or ask.lock == "thread":
        return None
    source = sources.get(ask.where.file)
    if ask.sure is Sure.PATTERN and source is not None and not source.changed:
        return None  # its source is there, and does not say that it goes on only with the lock
    resource, certain, why = _match(inquiry, graph, stack, ask, wanted)
    if resource is None:
        return None
    tid = stack.tid or stack.pid
    return Wait(
        waiter=inquiry.actor(stack.pid, tid, ask.where),
        resource=resource,
        how=How.POLLING,
        words=f"polls for {resource.name}",
        where=ask.where,
        holds=graph.holds_of(resource) or graph.openers_as_holds(resource, stack.pid),
        certain=certain,
        evidence=(
            Evidence(source=f"py-spy dump --locals --pid {stack.pid}", text=f"{ask.where}: {ask.why}; {why}"),
        ),
    )


def link_elsewhere(inquiry: Inquiry, graph: LockGraph, stack: Stack) -> Wait | None:
    """Link a holder that polls for a lock nobody asked about, if its stack names one that is held."""
    ask = lock_sites.asking(stack, inquiry.sources(stack))
    if ask is None or ask.how != "polling":
        return None
    paths = [path for path, _ in lock_lines.asked_paths(inquiry, stack, ask)]
    for path in paths:
        if resource := graph.adopt(path):
            return link(inquiry, graph, stack, {path: resource})
    for path in paths if ask.lock == "file" else ():
        if resource := soft_locks.adopt(inquiry, graph, path):
            if wait := link(inquiry, graph, stack, {path: resource}):
                return wait
            soft_locks.leave(inquiry, graph, path)
    for path in inquiry.opened(stack.pid, {id_of(lock) for lock in graph.elsewhere}):
        if resource := graph.adopt(f"/proc/{stack.pid}/root{path}"):
            return link(inquiry, graph, stack, {path: resource})
    return None


def _match(
    inquiry: Inquiry, graph: LockGraph, stack: Stack, ask: Ask, wanted: dict[str, Resource]
) -> tuple[Resource | None, bool, str]:
    """Tell which lock is asked for, whether memory says so, and the words for it."""
    for path, why in lock_lines.asked_paths(inquiry, stack, ask):
        if path in wanted:
            return wanted[path], True, why
    if any(path.startswith("/") and "lock" in path.lower() for path in ask.paths):
        return None, False, ""  # it names a lock, but another one
    mine = {item.fd: item for item in graph.descriptors if item.pid == stack.pid and not item.locks}
    named = [mine[fd] for fd in ask.fds if fd in mine]
    for item in named or (mine.values() if ask.sure is not Sure.PATTERN or ask.lock == "file" else ()):
        if item.path in wanted:
            return wanted[item.path], bool(named), f"its descriptor {item.fd} is open on {item.path}"
    return None, False, ""


def again(inquiry: Inquiry, waits: Iterable[Wait]) -> Iterator[Wait]:
    """Yield those of the polling ``waits`` that a second look at their stacks confirms.

    A poller that is looked at in the middle of a try shows it only at the next look.
    """
    left = list(waits)
    for turn in range(LOOKS):
        if turn:
            inquiry.host.sleep(PAUSE)
        fresh = inquiry.fresh_stacks({wait.waiter.pid for wait in left})
        seen = [wait for wait in left if polls_still(inquiry, wait, fresh.get(wait.waiter.pid, ()))]
        yield from seen
        left = [wait for wait in left if wait not in seen]
        if not left:
            return


def polls_still(inquiry: Inquiry, wait: Wait, stacks: Sequence[Stack]) -> bool:
    """Whether one of fresh ``stacks`` shows that its thread polls on as in ``wait``."""
    stack = next((s for s in stacks if s.tid in (None, wait.waiter.tid)), None)
    ask = lock_sites.asking(stack, inquiry.sources(stack)) if stack else None
    file = wait.where.file if wait.where else ""
    return ask is not None and ask.how == "polling" and ask.where.file == file
