"""The threads of a core: Python stacks, C frames and waits put together, and the fault that ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from diag.collectors import native_stacks
from diag.collectors.pyobjects import PyObjects, gil
from diag.collectors.pyobjects import stacks as python_stacks
from diag.investigate import core_fork, core_gaps, implicated, tasks
from diag.investigate.inquiry import Inquiry
from diag.investigate.lock_files import LockFiles
from diag.investigate.lock_graph import LockGraph
from diag.investigate.wait_chains import chains_from, unknown_holders
from diag.model import signals
from diag.model.facts import Gap, Stack
from diag.model.graph import Actor, How
from diag.model.snapshot import SeenTask, SeenThread, Snapshot
from diag.waits.file_lock import blocked_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.collectors.native_stacks import Natives
    from diag.host import CoreView
    from diag.model.core import CoreImage
    from diag.model.facts import Process

Seen = TypeVar("Seen", SeenThread, SeenTask)
_STILL = (How.BLOCKED, How.POLLING)


def look(view: CoreView, image: CoreImage, unwound: Callable[[], Natives]) -> Snapshot:
    """Describe all threads; ``unwound`` waits for the C frames, which others are reading meanwhile."""
    inquiry = _Inquiry(view, image)
    graph = LockGraph(inquiry, LockFiles(inquiry.host, (), ()))
    looked = tasks.look(inquiry, implicated.look(inquiry, graph, [image.pid], most=1))
    died = None
    if not signals.is_snapshot(image.signal):
        from diag.investigate import core_death  # noqa: PLC0415 - loads only when used

        died = core_death.Death(view, image)
    natives = _with_gil(inquiry, image, unwound())
    seen = list(looked.threads)
    lock_gaps: list[Gap] = []
    if any(one.thread.syscall and blocked_in(one.thread.syscall) for one in seen):
        from diag.investigate import core_locks  # noqa: PLC0415 - loads only when used

        seen, lock_gaps = core_locks.named(inquiry, image.pid, seen)
    threads = tuple(_with_natives(_at_one_instant(one), natives) for one in seen)
    waiting = tuple(_at_one_instant(one) for one in looked.tasks)
    waits = [one.wait for one in threads] + [one.wait for one in waiting]
    snapshot = Snapshot(
        processes=tuple(process for process in inquiry.processes.values() if process),
        threads=_faulting_first(image, threads),
        waits=tuple(wait for wait in waits if wait and wait.how is not How.RUNNING),
        tasks=waiting,
        gaps=(
            *core_gaps.of_core(image),
            *lock_gaps,
            *core_gaps.of_moments(threads),
            *inquiry.gaps,
            *natives.gaps,
            *unknown_holders(inquiry, threads, waiting),
            *core_gaps.unread(view, image),
        ),
        roots=(image.pid,),
        core=image,
        forked_at=core_fork.forked_at(inquiry, image.pid),
    )
    if died:
        snapshot = died.told(snapshot, natives, inquiry.objects(image.pid))
    return replace(snapshot, chains=tuple(chains_from(snapshot, (image.pid,))))


def _with_gil(inquiry: Inquiry, image: CoreImage, natives: Natives) -> Natives:
    """Add who had the interpreter lock, where who read the frames does not tell."""
    objects = inquiry.objects(image.pid) if natives.gil is None else None
    return natives._replace(gil=gil.holder(objects, idents(image))) if objects else natives


def idents(image: CoreImage) -> dict[int, int]:
    """Thread pointer -> thread id."""
    return {one.tls: one.tid for one in image.threads if one.tls}


class _Inquiry(Inquiry):
    """Reads the Python stacks from memory: no program needs to be asked, nothing is run."""

    def __init__(self, view: CoreView, image: CoreImage) -> None:
        super().__init__(view, pause=False)
        self._idents = idents(image)
        self.ended = not signals.is_snapshot(image.signal)

    def forked_from(self, process: Process) -> Actor | None:
        """The parent of a process that was forked, as its stack shows; no other process is in a core."""
        if core_fork.forked_at(self, process.pid) is None:
            return None
        return Actor(pid=process.ppid, started=0, process="")

    def _read_one(self, process: Process, *, pause: bool, native: bool) -> tuple[Stack, ...] | Gap:
        del pause, native
        objects = self.objects(process.pid)
        if objects is None:
            why = PyObjects.attach(self.host, process)
            return why if isinstance(why, Gap) else ()
        return python_stacks.stacks(objects, self._idents)


def _at_one_instant(seen: Seen) -> Seen:
    """A core shows one instant, whole: no second look is needed to tell that a ring of waits is one.

    How long a wait had lasted, nothing tells: rules that ask for that are not asked.
    """
    wait = seen.wait
    if wait is None or wait.how not in _STILL:
        return seen
    return replace(seen, wait=replace(wait, stuck=True, since=None))


def _with_natives(seen: SeenThread, natives: Natives) -> SeenThread:
    """Add the C frames, and who had the interpreter lock, to the stack of a thread."""
    tid = seen.thread.tid
    if seen.wait and seen.wait.resource.kind == "gil":
        held = f", which thread {natives.gil} has" if natives.gil not in (None, tid) else ""
        words = seen.wait.words.replace(", which was free a moment later", held, 1)
        seen = replace(seen, wait=replace(seen.wait, words=words))
    found = natives.frames.get(tid)
    if not found and natives.gil != tid:
        return seen
    stack = seen.stack or Stack(pid=seen.process.pid, tid=tid, thread=None, frames=())
    frames = native_stacks.merge(found or (), stack.frames)
    return replace(seen, stack=replace(stack, frames=frames, owns_gil=natives.gil == tid))


def _faulting_first(image: CoreImage, threads: tuple[SeenThread, ...]) -> tuple[SeenThread, ...]:
    """Put the threads in the order of the core: the one that took the signal leads."""
    order = {one.tid: number for number, one in enumerate(image.threads)}
    return tuple(sorted(threads, key=lambda seen: order.get(seen.thread.tid, len(order))))
