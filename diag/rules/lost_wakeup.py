"""T010: a thread or task waits for a notification, and nobody is left who could send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import How
from diag.rules import chains, phrases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diag.model.facts import Process
    from diag.model.graph import Wait
    from diag.model.snapshot import SeenTask, SeenThread, Snapshot
    from diag.rules.chains import Ring

CODE, SLUG = "T010", "lost-wakeup"
_NOTIFIED = frozenset(
    {"event", "condition", "semaphore", "barrier", "queue", "full queue", "unfinished queue", "future"}
) | {
    "futures",
    "thread-lock",
    "gate",
    "native-lock",
    "native-signal",
}  # a lock that no living thread has: its taker has ended, or has returned
_FAMILY = frozenset({"shared-signal", "shared-lock", "child"}) | chains.IN_PROCESS | chains.MESSAGES
"""What processes of one family wait for of each other."""
_NATIVE = frozenset({"native-lock", "native-signal"})
_OF_TASKS = frozenset({"task-notification", "task-semaphore", "task-lock"})
_FUTEX = ("futex", "futex_wait")
_EPOLL = ("epoll_wait", "epoll_pwait")
_PRIVATE = 0x80  # FUTEX_PRIVATE_FLAG: no other process can wake it
_NEGATIVE = 0x80000000  # of a C int: no time limit (epoll_wait(2); Python 3.7 gives -1000)
_INT, _ILL, _ABRT, _BUS, _FPE, _SEGV, _CANCEL, _SETXID = 2, 4, 6, 7, 8, 11, 32, 33
# Whose handlers wake no waiting thread: the C library's own, and those of faults (faulthandler's). SIGINT is
# what every Python program catches; it ends the program, and it is said so.
_NO_WAKERS = sum(1 << (n - 1) for n in (_INT, _ILL, _ABRT, _BUS, _FPE, _SEGV, _CANCEL, _SETXID))


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """All threads of a process sleep where only its own threads could wake them."""
    graph = chains.Graph(snapshot)
    for wait in graph.stuck.values():
        if wait.resource.kind == "lost-work":
            yield _lost(graph, wait)
    rings = graph.rings()
    for ring in rings:
        if "shared-signal" in ring.kinds and _is_closed_family(graph, ring):
            yield _of_family(ring)
    ringed = {pid for ring in rings for pid in ring.pids}
    for process in snapshot.processes:
        threads = graph.threads(process.pid)
        if process.pid in ringed or not _is_closed(process, threads):
            continue
        tasks = [task for task in snapshot.tasks if task.process.pid == process.pid]
        waits = [*_of_threads(threads), *_of_tasks(tasks)]
        # One wait for an event is how a main program sleeps until it is killed; not one that wants to end.
        ends = any(seen.stack and seen.stack.at_exit for seen in threads)
        if any(wait.resource.kind in _NATIVE for wait in waits):
            if any(seen.wait and seen.wait.resource.kind == "native-lock" for seen in threads):
                yield _finding(graph, process, threads, waits)
            continue  # without a lock it may be how a program idles
        several = any(not _is_event(wait) for wait in waits) or len({wait.resource.key for wait in waits}) > 1
        if several or (waits and ends):
            yield _finding(graph, process, threads, waits)


def may_be_woken(process: Process) -> bool:
    """Whether a signal may run code of a process that wakes one of its threads."""
    return process.caught is None or bool(process.caught & ~_NO_WAKERS)


def _is_closed_family(graph: chains.Graph, ring: Ring) -> bool:
    """Whether only these processes could wake each other, and none of them runs, or would for a signal."""
    waits = (*ring.waits, *ring.victims)
    pids = {hold.holder.pid for wait in ring.waits for hold in chains.active(wait)} | ring.pids
    members = [graph.snapshot.process(pid) for pid in pids]
    may_wake = any(one is None or may_be_woken(one) for one in members)
    return (
        ring.kinds <= _FAMILY and not may_wake and not graph.is_watched(waits) and not graph.bystanders(waits)
    )


def _is_closed(process: Process, threads: Sequence[SeenThread]) -> bool:
    """Whether nothing but a signal that ends it can wake any thread of a process."""
    if may_be_woken(process):
        return False
    return len(threads) == process.threads > 0 and all(map(_sleeps_for_ever, threads))


def _sleeps_for_ever(seen: SeenThread) -> bool:
    call = seen.thread.syscall
    if seen.moved is not False or call is None or len(call.arguments) < 4 or seen.wait is None:
        return False
    if call.name in _FUTEX:
        is_known = seen.stack is None or seen.wait.resource.kind != "gil"
        is_private = bool(call.arguments[1] & _PRIVATE) or seen.wait.resource.kind == "thread"
        return is_known and is_private and not call.arguments[3]
    return call.name in _EPOLL and bool(call.arguments[3] & _NEGATIVE) and seen.lonely_loop is not None


def _of_threads(threads: Sequence[SeenThread]) -> Iterator[Wait]:
    """The waits for notifications; of workers that idle at a queue only those that somebody waits for."""
    waits = [seen.wait for seen in threads if seen.wait]
    joined = {hold.holder.tid for wait in waits for hold in chains.active(wait)}
    for wait in waits:
        is_idle = wait.how is How.IDLE and wait.waiter.tid not in (wait.waiter.pid, *joined)
        if wait.resource.kind in _NOTIFIED and not is_idle and not chains.active(wait):
            yield wait


def _of_tasks(tasks: Sequence[SeenTask]) -> Iterator[Wait]:
    for task in tasks:
        wait = task.wait
        waits = wait is not None and wait.stuck and wait.how is How.BLOCKED
        if wait and waits and wait.resource.kind in _OF_TASKS and not chains.active(wait):
            yield wait


def _is_event(wait: Wait) -> bool:
    return wait.resource.kind == "event" or wait.resource.name.startswith("an event")


def _of_family(ring: Ring) -> Finding:
    first = next(wait for wait in ring.waits if wait.resource.kind == "shared-signal")
    others = [wait.waiter for wait in (*ring.waits, *ring.victims) if wait is not first]
    count = len({one.pid for one in others} | ring.pids)
    alone = "no other process has it, and this one's threads"
    family = f"all {count} processes that could" if count > 1 else alone
    more = f"; {phrases.waiting(len(others))} with it" if others else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(first.waiter)} waits{phrases.at(first.where)} for {first.resource.name}, which "
            f"nobody can bring about any more: {family} sleep without a time limit{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.LIKELY,
        culprit=first.waiter,
        victims=tuple(others),
        resource=first.resource,
        chain=chains.links(chains.starting_at(ring.waits, first.waiter)),
        evidence=chains.evidence(ring.waits),
        against=(
            "SIGINT (Ctrl-C) raises KeyboardInterrupt in a main thread: programs that are only meant to wait "
            "for that look the same",
        ),
        remedy=(
            "end all processes that share it, and start them again: whoever should have set, notified, put "
            "or released it has ended or waits itself; the log may say why",
            "in the code: set the event, release the semaphore and call task_done() in a finally: block, "
            "give every wait a time limit, and look whether the other processes live",
        ),
        check=phrases.check_stack(*sorted(ring.pids)),
    )


def _is_likely(wait: Wait) -> bool:
    return _is_event(wait) or wait.resource.kind in _NATIVE


def _lost(graph: chains.Graph, wait: Wait) -> Finding:
    victims = graph.victims([wait])
    more = f"; {phrases.waiting(len(victims))} behind it" if victims else ""
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{phrases.who(wait.waiter)} waits{phrases.at(wait.where)} for {wait.resource.name}, and nobody "
            f"else has been given it: all workers idle{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.CERTAIN,
        culprit=wait.waiter,
        victims=victims,
        resource=wait.resource,
        chain=chains.links([wait]),
        evidence=chains.evidence([wait]),
        remedy=(
            f"restart pid {wait.waiter.pid}: the result will never come; what killed the worker tell the "
            "kernel's log (out of memory) and diag segfaults",
            "in the code: concurrent.futures.ProcessPoolExecutor notices that a worker has died and raises "
            "BrokenProcessPool; or give get() a time limit",
        ),
        check=(*phrases.check_stack(wait.waiter.pid), "dmesg | grep -i -e killed -e segfault"),
    )


def _finding(
    graph: chains.Graph, process: Process, threads: Sequence[SeenThread], waits: Sequence[Wait]
) -> Finding:
    first = next((wait for wait in waits if not _is_event(wait)), waits[0])
    alike = (seen.wait for seen in threads if seen.wait and seen.wait.how is not How.IDLE)
    inside = (wait.waiter for wait in (*waits, *alike) if wait.waiter != first.waiter)
    victims = dict.fromkeys((*inside, *(one for one in graph.victims(waits) if one.pid != process.pid)))
    more = f"; {phrases.waiting(len(victims))} likewise" if victims else ""
    count = f"all {len(threads)} threads sleep" if len(threads) > 1 else "its only thread sleeps"
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"pid {process.pid} ({process.name}): {phrases.thread(first.waiter)} waits"
            f"{phrases.at(first.where)} for {chains.short(first.resource)}, which nobody can bring about any "
            f"more: {count} without a time limit, and nothing from outside can wake one{more}"
        ),
        severity=Severity.CRITICAL,
        confidence=Confidence.LIKELY if all(map(_is_likely, waits)) else Confidence.CERTAIN,
        culprit=first.waiter,
        victims=tuple(victims),
        resource=first.resource,
        chain=chains.links([first]),
        evidence=(*chains.evidence(waits), *_around(process, threads)),
        against=(
            "SIGINT (Ctrl-C) raises KeyboardInterrupt in the main thread: a program that is only meant to "
            "wait for that looks the same",
        ),
        remedy=(
            f"restart pid {process.pid}: nothing inside it will go on; its log may say why the thread that "
            "should have set, notified, put or released is gone (a traceback, an early return)",
            "in the code: set the event and put the last item in a finally: block of whoever is to do it, "
            "change the state before the notification and under the condition's lock, wait with wait_for() "
            "or a loop over the state, and give every wait a time limit",
        ),
        check=(*phrases.check_stack(process.pid), f"grep SigCgt /proc/{process.pid}/status"),
    )


def _around(process: Process, threads: Sequence[SeenThread]) -> Iterator[Evidence]:
    """Yield that no signal is caught, how each thread sleeps, and what the loops know."""
    yield Evidence(source=f"/proc/{process.pid}/status", text=f"SigCgt: {process.caught or 0:016x}")
    for seen in threads:
        yield from seen.wait.evidence if seen.wait else ()
        if seen.lonely_loop:
            yield seen.lonely_loop
