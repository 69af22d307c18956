"""``diag stacks``: from pids to every thread of these processes and their children, with its wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import process as processes
from diag.collectors import pyspy
from diag.errors import DiagError
from diag.investigate import lock_waits, moves, replaced_files, tasks
from diag.investigate.databases import NOBODY, Access, Databases
from diag.investigate.inquiry import Inquiry
from diag.investigate.surroundings import Surroundings
from diag.model.facts import Gap
from diag.model.graph import How
from diag.model.snapshot import SeenThread, Snapshot
from diag.rules.shared_connection_live import suspects
from diag.waits import link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diag.host import Host
    from diag.model.facts import Stack, Thread
    from diag.model.graph import Wait

    Say = Callable[[str], None]
    ThreadId = tuple[int, int]

MOMENT = 0.05
"""Seconds between two samples that are taken to confirm a suspicion, and the time a thread is given to
fall asleep again after py-spy has let it go."""

MOST_NAMED = 4
"""Processes named in one gap."""


class Plan(NamedTuple):
    """How to look."""

    children: bool = True
    pause: bool = True  # stop the target for the moment of a dump, so that it is consistent
    native: bool = False
    samples: int = 1
    interval: float = 1.0  # seconds between samples
    access: Access = NOBODY  # database servers that may be asked


class Sample(NamedTuple):
    """All threads at one moment."""

    inquiry: Inquiry
    threads: dict[ThreadId, Thread]
    surroundings: Surroundings
    stacks: dict[ThreadId, Stack]
    after: dict[ThreadId, Thread]  # the same threads once py-spy is gone; only where more samples follow


def look(host: Host, pids: Sequence[int], plan: Plan, say: Say = lambda _: None) -> Snapshot:
    """Look at the processes ``pids``; ``say`` is told what is being done.

    Raises ``DiagError`` when none of them can be looked at.
    """
    roots, gaps = roots_of(host, pids)
    family = processes.family(host, *roots) if plan.children else roots
    say(f"reading the stacks of {len(family)} processes")
    taken = [_sample(host, family, plan, more=plan.samples > 1)]
    for number in range(2, plan.samples + 1):
        say(f"waiting {plan.interval:g} s for sample {number} of {plan.samples}")
        host.sleep(plan.interval)
        taken.append(_sample(host, family, plan, more=number < plan.samples))
    snapshot = _snapshot(taken)
    if plan.samples == 1 and (doubtful := suspects(snapshot)):
        host.sleep(MOMENT)
        again = _sample(host, doubtful, plan, more=False).stacks
        snapshot = replace(snapshot, threads=tuple(_with_other(seen, again) for seen in snapshot.threads))
    asked = tuple(process for pid in roots if (process := snapshot.process(pid)))
    return replace(snapshot, replaced_files=replaced_files.look(host, asked), gaps=(*gaps, *snapshot.gaps))


def roots_of(host: Host, pids: Sequence[int]) -> tuple[tuple[int, ...], list[Gap]]:
    """Find the processes meant by ``pids``; a thread's id stands for its process."""
    found: dict[int, None] = {}
    gaps = []
    for pid in pids:
        owner = processes.owner_of_thread(host, pid)
        if owner == host.info.pid:
            raise DiagError(f"process {pid} is diag itself", hint="name the process that does not go on")
        if owner is None:
            gaps.append(_missing(pid))
        else:
            found[owner] = None
    if not found:
        some = ", ".join(map(str, pids))
        raise DiagError(f"no such process: {some}", hint="list processes with: ps -ef, or pgrep -af NAME")
    return tuple(found), gaps


def _missing(pid: int) -> Gap:
    return Gap(
        source=f"/proc/{pid}",
        hides=f"process {pid}",
        reason="no such process",
        hint="it has ended, or never was: list processes with ps -ef",
    )


def _sample(host: Host, pids: Iterable[int], plan: Plan, *, more: bool) -> Sample:
    inquiry = Inquiry(host, pause=plan.pause)
    inquiry.databases = Databases(inquiry, plan.access)
    living = [process for pid in pids if (process := inquiry.process(pid))]
    threads = [thread for process in living for thread in inquiry.threads(process.pid)]
    # py-spy comes after /proc: what it stops and lets go again shows as restart_syscall for a while.
    surroundings = Surroundings(inquiry, threads)
    denied = [process for process in living if pyspy.is_denied(host, process)]
    inquiry.gaps.extend(pyspy.denied_gap(host, process) for process in denied)
    readable = [process.pid for process in living if process not in denied]
    inquiry.read_stacks(readable, pause=plan.pause, native=plan.native)
    stacks = _stacks(inquiry, readable)
    if plan.native:
        inquiry.gaps.extend(_without_native(inquiry, stacks))
    after: list[Thread] = []
    if more:
        host.sleep(MOMENT)
        after = [thread for found in inquiry.again(readable).values() for thread in found]
    return Sample(inquiry, _by_id(threads), surroundings, stacks, _by_id(after))


def _without_native(inquiry: Inquiry, stacks: dict[ThreadId, Stack]) -> Iterator[Gap]:
    """Say where C frames were asked for and could not be had."""
    native = {pid for (pid, _), stack in stacks.items() if any(frame.native for frame in stack.frames)}
    for pid in sorted({pid for pid, _ in stacks} - native):
        process = inquiry.process(pid)
        yield Gap(
            source="py-spy --native",
            hides=f"C frames of pid {pid} ({process.name if process else '?'})",
            reason="it can not be stopped just now, or py-spy can not unwind its C stack",
            hint=f"gdb -p {pid} -batch -ex 'thread apply all bt' shows them, and stops it for longer",
        )


def _by_id(threads: Iterable[Thread]) -> dict[ThreadId, Thread]:
    return {(thread.pid, thread.tid): thread for thread in threads}


def _stacks(inquiry: Inquiry, pids: Iterable[int]) -> dict[ThreadId, Stack]:
    found: dict[ThreadId, Stack] = {}
    for pid in pids:
        for stack in inquiry.stacks(pid):
            found.setdefault((pid, stack.tid or pid), stack)
    return found


def _snapshot(taken: Sequence[Sample]) -> Snapshot:
    last = taken[-1]
    waits = _waits(last)
    threads = tuple(_seen(taken, thread, waits) for thread in last.threads.values())
    if last.inquiry.databases:
        threads = tuple(last.inquiry.databases.refine(threads))
    looked = tasks.look(last.inquiry, threads)
    return Snapshot(
        processes=tuple(process for process in last.inquiry.processes.values() if process),
        threads=threads,
        tasks=looked.tasks,
        waits=tuple(seen.wait for seen in threads if seen.wait and seen.wait.how is not How.RUNNING),
        gaps=_joined(last.inquiry.gaps),
    )


def _waits(sample: Sample) -> dict[ThreadId, Wait]:
    """Link every thread; who holds a file lock that is waited for is looked at too."""
    inquiry, stacks = sample.inquiry, sample.stacks
    locks = lock_waits.find(inquiry, list(sample.threads.values()), sample.surroundings.asked)
    waits = _linked(sample.surroundings, stacks, locks)
    known = {pid for pid, _ in sample.threads}
    holders = {hold.holder.pid for wait in locks.values() for hold in wait.holds} - known
    if holders:
        threads = [thread for pid in sorted(holders) for thread in inquiry.threads(pid)]
        around = Surroundings(inquiry, threads)
        inquiry.read_stacks(sorted(holders), pause=inquiry.pause)
        waits = {**_linked(around, _stacks(inquiry, holders), locks), **waits}
    for key in locks.keys() & waits.keys():
        waits[key] = lock_waits.in_words(locks[key], stacks.get(key), waits)
    return waits


def _linked(
    surroundings: Surroundings, stacks: dict[ThreadId, Stack], locks: dict[ThreadId, Wait]
) -> dict[ThreadId, Wait]:
    return {(scene.thread.pid, scene.thread.tid): link(scene) for scene in surroundings.scenes(stacks, locks)}


def _seen(taken: Sequence[Sample], thread: Thread, waits: dict[ThreadId, Wait]) -> SeenThread:
    key = (thread.pid, thread.tid)
    process = taken[-1].inquiry.process(thread.pid)
    assert process is not None
    moved = None if len(taken) == 1 else moves.moved(taken, key)
    wait = waits.get(key)
    if wait and moved is False and wait.how is not How.RUNNING:
        wait = replace(wait, stuck=True)
    return SeenThread(
        process=process,
        thread=thread,
        stack=taken[-1].stacks.get(key),
        wait=wait,
        samples=len(taken),
        moved=moved,
        others=tuple(stack for sample in taken[:-1] if (stack := sample.stacks.get(key))),
    )


def _with_other(seen: SeenThread, again: dict[ThreadId, Stack]) -> SeenThread:
    other = again.get((seen.thread.pid, seen.thread.tid))
    return replace(seen, others=(other,)) if other else seen


def _joined(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """Make one gap of those that differ only in the process: a hundred workers are denied alike."""
    alike: dict[tuple[str, str, str], list[Gap]] = {}
    for gap in gaps:
        alike.setdefault((gap.source, gap.reason, gap.hint), []).append(gap)
    return tuple(
        replace(same[0], hides=_all_of(same)) if len(same) > 1 else same[0] for same in alike.values()
    )


def _all_of(gaps: Sequence[Gap]) -> str:
    more = f" and {len(gaps) - MOST_NAMED} more" if len(gaps) > MOST_NAMED else ""
    return "; ".join(gap.hides for gap in gaps[:MOST_NAMED]) + more
