"""What has been looked at so far: each process, thread list, stack and source file once a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import process as processes
from diag.collectors import pyspy, source, threads
from diag.model.facts import Gap
from diag.model.graph import Actor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from diag.collectors.elf.imports import Imports
    from diag.collectors.pyobjects import PyObjects
    from diag.host import Host
    from diag.investigate.databases import Databases
    from diag.investigate.suspended import All
    from diag.model.facts import Process, Stack, Thread, Where
    from diag.model.snapshot import SoftLock
    from diag.model.source import Source


MOMENT = 0.2
"""Seconds between two samples that tell a thread that moves from one that does not."""


class Inquiry:
    """A cache over the collectors, and the gaps they met. Times are those of ``clock``."""

    def __init__(self, host: Host, *, pause: bool) -> None:
        self.host = host
        self.pause = pause
        self.databases: Databases | None = None  # set where database servers may be asked
        self.ended = False  # the core of a process that died: whose threads run do not go on
        self.clock = host.clock()
        self.gaps: list[Gap] = []
        self.processes: dict[int, Process | None] = {}
        self.soft_locks: dict[str, SoftLock] = {}  # that a thread polls for, by path
        self.sharers: dict[str, tuple[int, ...]] = {}  # file in shared memory -> who has it mapped
        self._threads: dict[int, tuple[Thread, ...]] = {}
        self._stacks: dict[int, tuple[Stack, ...]] = {}
        self._sources: dict[tuple[int, str], Source | None] = {}
        self._objects: dict[int, PyObjects | None] = {}
        self.imports: dict[str, Imports | None] = {}  # of programs and libraries, filled by ``lock_calls``
        self.suspended: dict[int, All] = {}  # tasks and greenlets, filled by ``suspended.look``
        self._patience = pyspy.Patience()
        self._from_memory: set[int] = set()  # processes whose stacks py-spy can not read

    def process(self, pid: int) -> Process | None:
        """One process; None when it is gone."""
        if pid not in self.processes:
            self.processes[pid] = processes.collect(self.host, pid, self.clock) if pid > 0 else None
        return self.processes[pid]

    def threads(self, pid: int) -> tuple[Thread, ...]:
        """The threads of one process, as they were when first asked for."""
        if pid not in self._threads:
            self._threads[pid] = tuple(threads.collect(self.host, pid, self.clock))
        return self._threads[pid]

    def opened(self, pid: int, files: Collection[tuple[int, int]]) -> list[str]:
        """The paths, as the process has them, of those ``files`` (st_dev, st_ino) that it has open."""
        if not files:
            return []
        try:
            links = self.host.fds(pid)
        except OSError:
            return []
        return [link.target for link in links if (link.device, link.inode) in files]

    def has_stacks(self, pid: int) -> bool:
        """Whether the stacks of a process have been asked for."""
        return pid in self._stacks

    def stacks(self, pid: int, *, pause: bool | None = None) -> tuple[Stack, ...]:
        """The Python stacks of one process; none where it runs no Python or may not be read."""
        if pid not in self._stacks:
            self.read_stacks([pid], pause=self.pause if pause is None else pause)
        return self._stacks.get(pid, ())

    def read_stacks(
        self, pids: Iterable[int], *, pause: bool, native: bool = False, suspects: bool = False
    ) -> None:
        """Read the stacks of many processes side by side, for ``stacks`` to find.

        ``suspects``: nothing says that they have to do with it; what can not be read of them blinds no rule.
        """
        wanted = [pid for pid in dict.fromkeys(pids) if pid not in self._stacks and self.process(pid)]
        self._stacks.update(self._dump(wanted, pause=pause, native=native, suspects=suspects))

    def fresh_stacks(self, pids: Iterable[int], *, suspects: bool = False) -> dict[int, tuple[Stack, ...]]:
        """Read stacks once more, without stopping anybody; the first sample is kept."""
        left = [pid for pid in sorted(pids) if self.process(pid)]
        return self._dump(left, pause=False, suspects=suspects)

    def _dump(
        self, pids: list[int], *, pause: bool, native: bool = False, suspects: bool = False
    ) -> dict[int, tuple[Stack, ...]]:
        """Run one py-spy a process, as many at a time as there are cores."""

        def look(pid: int) -> tuple[Stack, ...] | Gap:
            process = self.processes[pid]
            if process is None or process.kernel or (process.state in "ZX" and process.threads <= 1):
                return ()
            if not is_python(self.host, process):
                return ()
            return self._read_one(process, pause=pause, native=native)

        known = [pid for pid in pids if pid not in self._from_memory]
        answers = dict(zip(known, self._side_by_side(look, known), strict=True))
        before = tuple(self.gaps)
        found = {pid: self._after(pid, answers.get(pid)) for pid in pids}
        new = self.gaps[len(before) :]
        if suspects:
            new = [replace(gap, blinds=frozenset()) for gap in new]
        self.gaps[len(before) :] = [gap for gap in new if gap not in before]  # a second look tells no more
        return found

    def _side_by_side(
        self, look: Callable[[int], tuple[Stack, ...] | Gap], pids: Sequence[int]
    ) -> list[tuple[Stack, ...] | Gap]:
        self._patience.learn()
        if len(pids) == 1:  # a thread for it would only cost its start
            return [look(pids[0])]
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - loads only when used

        cores = self.host.info.cpus
        answers: list[tuple[Stack, ...] | Gap] = []
        with ThreadPoolExecutor(max_workers=cores) as pool:
            for start in range(0, len(pids), cores):
                answers += pool.map(look, pids[start : start + cores])
                self._patience.learn()
        return answers

    def _read_one(self, process: Process, *, pause: bool, native: bool) -> tuple[Stack, ...] | Gap:
        return pyspy.collect(self.host, process, patience=self._patience, pause=pause, native=native)

    def _after(self, pid: int, answer: tuple[Stack, ...] | Gap | None) -> tuple[Stack, ...]:
        """The stacks of an answer; what py-spy can not read (None: nor could before) is read from memory."""
        if isinstance(answer, tuple):
            return answer
        objects = self.objects(pid) if answer is None or pyspy.is_at_a_loss(answer) else None
        found: tuple[Stack, ...] = ()
        if objects:
            from diag.collectors import deep_stacks  # noqa: PLC0415 - loads only when used

            found = deep_stacks.collect(self.host, objects)
        if answer and found:
            self._from_memory.add(pid)
            hides = f"{answer.hides}, to py-spy: they were read from its memory instead"
            answer = replace(answer, hides=hides, blinds=frozenset())
        if answer:
            self.gaps.append(answer)
        return found

    def stack(self, pid: int, tid: int) -> Stack | None:
        """The Python stack of one thread."""
        found = self.stacks(pid)
        alone = len(found) == 1 and found[0].tid is None
        return next((stack for stack in found if stack.tid == tid or alone), None)

    def objects(self, pid: int) -> PyObjects | None:
        """The Python objects in the memory of a process; None where they can not be read."""
        if pid not in self._objects:
            from diag.collectors.pyobjects import PyObjects  # noqa: PLC0415 - loads only when used

            process = self.process(pid)
            found = PyObjects.attach(self.host, process) if process else None
            self._objects[pid] = found if isinstance(found, PyObjects) else None
        return self._objects[pid]

    def tells_tasks(self, pid: int) -> bool:
        """Whether all that the event loop of a process does in turn was read."""
        seen = self.suspended.get(pid)
        return seen is not None and bool(seen.found) and not seen.calls

    def forked_from(self, process: Process) -> Actor | None:
        """The parent whose memory a process was copied from, where something else than /proc proves it."""
        del process
        return None

    def sources(self, stack: Stack) -> Mapping[str, Source]:
        """The source of every file on a stack that can be read."""
        found = {}
        for file in dict.fromkeys(frame.file for frame in stack.frames):
            if text := self._source(stack.pid, file):
                found[file] = text
        return found

    def _source(self, pid: int, file: str) -> Source | None:
        if (pid, file) not in self._sources:
            process = self.process(pid)
            answer = source.collect(self.host, process, file) if process else None
            # Missing source is common (frozen modules, zip files) and only lowers confidence.
            self._sources[pid, file] = None if isinstance(answer, Gap) else answer
        return self._sources[pid, file]

    def actor(self, pid: int, tid: int | None = None, where: Where | None = None) -> Actor:
        """Name a process, or one of its threads, for the report."""
        process = self.process(pid)
        names = {stack.tid: stack.thread for stack in self._stacks.get(pid, ())}
        return Actor(
            pid=pid,
            started=process.started if process else 0,
            process=process.name if process else "",
            tid=tid,
            thread=names.get(tid) if tid else None,
            container_pid=process.container_pid if process else None,
            where=where,
        )

    def samples(
        self, pids: Sequence[int]
    ) -> tuple[dict[int, tuple[Thread, ...]], dict[int, tuple[Thread, ...]]]:
        """Two samples of the threads of ``pids``, a moment apart."""
        before = self.again(pids)
        self.host.sleep(MOMENT)
        return before, self.again(pids)

    def again(self, pids: Iterable[int]) -> dict[int, tuple[Thread, ...]]:
        """Take a second sample of the threads of ``pids``; the first is kept."""
        clock = self.host.clock()
        return {pid: tuple(threads.collect(self.host, pid, clock)) for pid in dict.fromkeys(pids)}


def is_python(host: Host, process: Process) -> bool:
    """Whether a process runs a Python interpreter: by its executable, or by what it has mapped."""
    if "python" in (process.exe or process.name).rpartition("/")[2]:
        return True
    try:
        maps = host.read(f"/proc/{process.pid}/maps", 4 << 20)
    except OSError:
        return False
    return any(mark in maps for mark in (b"libpython", b"/lib-dynload/", b"/site-packages/"))
