"""What waits come to: the chains from some processes to their ends, and what may hide a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Gap
from diag.model.graph import How
from diag.model.snapshot import Chain, Snapshot
from diag.rules import chains, no_peer, phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenTask, SeenThread

CHAIN_RULES = frozenset(f"T{n:03}" for n in range(1, 13)) | frozenset(f"P{n:03}" for n in range(1, 7))
"""Rules that what may not be seen can blind."""
_LOCKS = frozenset({"thread-lock", "task-lock"})


def unknown_holders(
    inquiry: Inquiry, threads: Sequence[SeenThread], tasks: Iterable[SeenTask]
) -> Iterable[Gap]:
    """Say of each lock that somebody waits for, and that nobody is seen to hold, why that is."""
    unread = tuple(_unread_sources(inquiry, threads))
    if unread:
        yield from unread
        return
    waits = [seen.wait for seen in threads if seen.wait]
    waits += [seen.wait for seen in tasks if seen.wait]
    for wait in {wait.resource.key: wait for wait in waits if _has_no_holder(wait)}.values():
        pid = wait.waiter.pid
        yield Gap(
            source=f"stacks of pid {pid}",
            hides=f"who has {wait.resource.name}, for which {phrases.who(wait.waiter)} waits"
            f"{phrases.at(wait.where)}",
            reason="no thread or task stands between its taking and its release: whoever took it has "
            "returned from the function that did, or is suspended",
            hint="look in the code for who takes it and leaves its release to another: "
            f"py-spy dump --locals --pid {pid}",
            blinds=frozenset({"T001", "T002", "T009", "T012"}),
        )


def _has_no_holder(wait: Wait) -> bool:
    return wait.stuck and wait.how is How.BLOCKED and wait.resource.kind in _LOCKS and not wait.holds


def _unread_sources(inquiry: Inquiry, threads: Iterable[SeenThread]) -> Iterable[Gap]:
    """Say where nobody seems to hold a lock that is waited for, and some source could not be read."""
    for seen in threads:
        wait = seen.wait
        if wait is None or not _has_no_holder(wait) or wait.resource.kind != "thread-lock":
            continue
        stacks = inquiry.stacks(seen.process.pid)
        files = {frame.file for stack in stacks for frame in stack.frames if not frame.native}
        read = {file for stack in stacks for file in inquiry.sources(stack)}
        missing = sorted(file for file in files - read if not file.startswith("<frozen"))
        if missing:
            yield Gap(
                source=missing[0],
                hides=f"which thread of pid {seen.process.pid} holds {wait.resource.name}",
                reason=f"the source of {missing[0]} cannot be read: only it tells where a lock is held",
                hint="put the source where the program was loaded from, or look at the stacks: "
                f"diag stacks {seen.process.pid}",
                blinds=frozenset({"T001", "T002", "T003"}),
            )
            return


def chains_from(snapshot: Snapshot, roots: Iterable[int]) -> Iterable[Chain]:
    """One chain for each thread of the processes ``roots`` that is stuck behind somebody."""
    graph = chains.Graph(snapshot)
    for pid in roots:
        for seen in graph.threads(pid):
            wait = graph.stuck.get((pid, seen.thread.tid))
            if wait is not None and chains.active(wait):
                yield _chain(graph, wait)
        for task in snapshot.tasks:
            if task.process.pid == pid and task.wait and task.wait.stuck and chains.active(task.wait):
                yield _chain(graph, task.wait)


def _chain(graph: chains.Graph, wait: Wait) -> Chain:
    waits = graph.path(wait)
    last = waits[-1]
    closes = any(each in waits for each in graph.next(last))
    ring = closes and not no_peer.may_go_on(graph, waits)
    holds = chains.active(last)
    end = graph.seen(holds[0].holder) if holds and not closes else None
    return Chain(waits=waits, ring=ring, end=end, victims=len(graph.victims(waits)))
