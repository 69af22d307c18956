"""Tasks and greenlets that poll for a lock: their loop sleeps between two tries, or serves others.

No stack of a thread shows them, and most of the time the file is not open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate import pollers, suspended
from diag.model.facts import Evidence, Frame, Gap, Stack
from diag.waits import lock_sites

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.investigate.suspended import All, Suspended
    from diag.model.facts import Where
    from diag.model.graph import Resource, Wait

MOST_AGAIN = 8
"""Processes that are looked at several times where nothing says yet that they have to do with a lock."""


def add(inquiry: Inquiry, graph: LockGraph, wanted: dict[str, Resource], pids: Iterable[int]) -> None:
    """Link every task of the processes that polls for one of ``wanted`` (by absolute path)."""
    left = list(pids)
    for turn in range(pollers.LOOKS):
        if turn:
            inquiry.host.sleep(pollers.PAUSE)
        trying = []
        for pid in left:
            found = suspended.look(inquiry, pid) if not turn else suspended.again(inquiry, pid)
            waits = [wait for one in found.found if (wait := _link(inquiry, graph, one, wanted))]
            graph.waits.extend(waits)
            if waits and turn:
                inquiry.suspended[pid] = found
            elif not waits and (not found.whole or _may_be_trying(found, wanted)):
                trying.append(pid)
        left = trying
        if not left:
            return


def _may_be_trying(seen: All, wanted: dict[str, Resource]) -> bool:
    """Whether a thread of an executor may try at this moment for a task."""
    return pollers.may_be_trying([one.stack for one in seen.found], (), wanted)


def elsewhere(inquiry: Inquiry, graph: LockGraph, pids: Collection[int]) -> Iterator[Wait]:
    """Link tasks that poll for a lock nobody asked about, if their stacks name one that is held."""
    left = list(pids)
    for turn in range(pollers.LOOKS if len(left) <= MOST_AGAIN else 1):
        if turn and left:  # a thread of an executor may have been trying for a task
            inquiry.host.sleep(pollers.PAUSE)
        for pid in tuple(left):
            found = suspended.again(inquiry, pid) if turn else suspended.look(inquiry, pid)
            waits = [wait for one in found.found if (wait := _link_elsewhere(inquiry, graph, one))]
            if waits:
                inquiry.suspended[pid] = found
                left.remove(pid)
            yield from waits


def again(inquiry: Inquiry, waits: Iterable[Wait]) -> Iterator[Wait]:
    """Yield those of the ``waits`` of tasks that a second look confirms."""
    left = list(waits)
    for turn in range(pollers.LOOKS):
        if turn:
            inquiry.host.sleep(pollers.PAUSE)
        fresh = {pid: suspended.again(inquiry, pid) for pid in sorted({wait.waiter.pid for wait in left})}
        stacks = {(pid, one.address): one.stack for pid, every in fresh.items() for one in every.found}
        seen = [
            wait
            for wait in left
            if (stack := stacks.get((wait.waiter.pid, wait.waiter.task_id)))
            and pollers.polls_still(inquiry, wait, (suspended.entered(stack),))
        ]
        yield from seen
        left = [wait for wait in left if wait not in seen]
        if not left:
            return


def gaps(inquiry: Inquiry, pids: Iterable[int], blinds: frozenset[str]) -> Iterator[Gap]:
    """Name a process whose loop will soon call a function that tries for some lock."""
    for pid in pids:
        for place in suspended.look(inquiry, pid).calls:
            source = inquiry.sources(Stack(pid=pid, tid=None, thread=None, frames=(_as_frame(place),)))
            if place.file in source and lock_sites.tries_inside(place.function, source[place.file]):
                process = inquiry.process(pid)
                yield Gap(
                    source=f"/proc/{pid}/mem",
                    hides=f"whether pid {pid} ({process.name if process else '?'}) polls for the lock",
                    reason=f"its event loop will soon call {place}, which tries for a lock: for which one, "
                    "no stack shows",
                    hint=f"strace -f -tt -e trace=flock,fcntl,openat -p {pid} shows its tries "
                    "(it stops the process at each)",
                    blinds=blinds,
                )
                return


def _as_frame(place: Where) -> Frame:
    return Frame(function=place.function, file=place.file, line=place.line)


def _link(inquiry: Inquiry, graph: LockGraph, one: Suspended, wanted: dict[str, Resource]) -> Wait | None:
    wait = pollers.link(inquiry, graph, suspended.entered(one.stack), wanted)
    return _of(wait, one) if wait else None


def _link_elsewhere(inquiry: Inquiry, graph: LockGraph, one: Suspended) -> Wait | None:
    wait = pollers.link_elsewhere(inquiry, graph, suspended.entered(one.stack))
    return _of(wait, one) if wait else None


def _of(wait: Wait, one: Suspended) -> Wait:
    """Say that it is a task that waits, and not the thread that runs it."""
    source = f"/proc/{wait.waiter.pid}/mem"
    return replace(
        wait,
        waiter=replace(wait.waiter, task=one.name, task_id=one.address, task_kind=one.kind),
        evidence=tuple(Evidence(source=source, text=each.text) for each in wait.evidence),
    )
