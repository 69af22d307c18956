"""Everything that is known when the rules are asked: joined views over the facts and the graph."""

from __future__ import annotations

from msgspec.structs import replace

from diag.model.code import ReplacedFile
from diag.model.core import CoreFault, CoreImage, Suspect
from diag.model.core_file import CoreFile
from diag.model.crash import CrashEvent, CrashGroup
from diag.model.damage import Damage
from diag.model.databases import Client, Database
from diag.model.facts import Evidence, Fact, Gap, Process, Stack, Thread, Where
from diag.model.graph import Actor, Hold, Resource, Wait
from diag.model.sight import Sight
from diag.model.worker_log import WorkerLog


class Lock(Fact, frozen=True, kw_only=True):
    """One file lock: who has it, who wants it, who merely has the file open."""

    resource: Resource
    holders: tuple[Hold, ...] = ()
    waiters: tuple[Wait, ...] = ()
    open_by: tuple[Actor, ...] = ()
    replaced_by: int | None = None  # inode that the path names now, where it is another one
    deleted: bool = False  # no path names the locked file any more
    asked: bool = True  # False: met on the way along a wait chain


class AskedFile(Fact, frozen=True, kw_only=True):
    """A path that the user asked about."""

    path: str
    form: str  # "file", "directory", "fifo", "device", "socket", "missing"
    open_by: tuple[Actor, ...] = ()


class SoftLock(Fact, frozen=True, kw_only=True):
    """A lock by existence: a file that names the process which made it."""

    path: str
    resource: Resource | None = None
    owner: int | None  # the pid its text names; None: it names none
    host: str | None  # the host its text names, where it names one
    alive: bool | None  # None: cannot be told (another host, no pid)
    reused: bool = False  # the pid lives, but began after the file was written
    written: float = 0.0  # seconds since the epoch
    text: str = ""  # what the file says
    only_exists: bool = False  # nothing but its existence can make it a lock: its name or form say so
    abandoned: bool = False  # it names no owner, and no process of this host has it open


class HeldLoop(Fact, frozen=True, kw_only=True):
    """An event loop that cannot run, for its thread runs something else, whose stack does not show it."""

    kind: str  # "gevent"
    evidence: Evidence


class SeenThread(Fact, frozen=True, kw_only=True):
    """One thread with all that is known of it."""

    process: Process
    thread: Thread
    stack: Stack | None = None
    wait: Wait | None = None
    samples: int = 1
    moved: bool | None = None  # None: looked at only once
    lonely_loop: Evidence | None = None  # the event loop it sleeps in has no timer and watches nothing
    held_loop: HeldLoop | None = None  # filled where memory was read
    others: tuple[Stack, ...] = ()  # its stacks in the other samples, oldest first

    def without_locals(self) -> SeenThread:
        """Take the variables out of its frames."""
        if self.stack is None:
            return self
        frames = tuple(replace(frame, locals=()) for frame in self.stack.frames)
        return replace(self, stack=replace(self.stack, frames=frames), others=())


class SeenTask(Fact, frozen=True, kw_only=True):
    """One asyncio task or greenlet that waits its turn, with all that is known of it."""

    process: Process
    actor: Actor
    kind: str  # "task" or "greenlet"
    stack: Stack  # of its coroutine or greenlet
    awaits: int = 0  # address of the future or task it waits for; of a greenlet: what will switch to it
    wait: Wait | None = None  # None: what it waits for comes from outside its loop, or could not be read

    def without_locals(self) -> SeenTask:
        """Take the variables out of its frames."""
        frames = tuple(replace(frame, locals=()) for frame in self.stack.frames)
        return replace(self, stack=replace(self.stack, frames=frames))


class Chain(Fact, frozen=True, kw_only=True):
    """From one thread to what is at the end of all it waits for."""

    waits: tuple[Wait, ...]  # the first is the thread's own
    ring: bool = False  # the last is held up by one of the others
    end: SeenThread | None = None  # what the last holder does, where it is no wait of the chain
    victims: int = 0  # other stuck waits that lead into this chain


class Snapshot(Fact, frozen=True, kw_only=True):
    """What the rules see. A rule is a pure function of it."""

    processes: tuple[Process, ...] = ()
    threads: tuple[SeenThread, ...] = ()
    tasks: tuple[SeenTask, ...] = ()
    locks: tuple[Lock, ...] = ()
    soft_locks: tuple[SoftLock, ...] = ()
    asked: tuple[AskedFile, ...] = ()
    waits: tuple[Wait, ...] = ()
    crashes: tuple[CrashEvent, ...] = ()
    crash_groups: tuple[CrashGroup, ...] = ()
    replaced_files: tuple[ReplacedFile, ...] = ()  # code of the processes asked about, replaced on disk
    core_files: tuple[CoreFile, ...] = ()  # filled by "diag segfaults": those that may belong to a crash
    gaps: tuple[Gap, ...] = ()
    roots: tuple[int, ...] = ()  # the processes that were asked about, where chains start
    chains: tuple[Chain, ...] = ()  # filled by "diag why" and "diag scan"
    taken_at: float = 0.0  # seconds since the epoch, when the first look began; 0: unknown
    counted: tuple[tuple[str, int], ...] = ()  # filled by "diag scan": what was looked at, and how much
    core: CoreImage | None = None  # filled by "diag core": the process is dead, or was copied while it lived
    fault: CoreFault | None = None
    forked_at: Where | None = None  # of a core: the line at which its process was forked, in the child
    suspects: tuple[Suspect, ...] = ()
    worker_logs: tuple[WorkerLog, ...] = ()  # what services' logs tell of the process of the core
    damage: Damage | None = None  # of a core: traces of what was at work before
    databases: tuple[Database, ...] = ()
    callers: tuple[
        tuple[int, int], ...
    ] = ()  # pid of a client that has locks, pid connected to it; 0: elsewhere
    lines: tuple[
        tuple[int, int], ...
    ] = ()  # their connections: inode of the socket of the one, inode of that of the other
    clients: tuple[Client, ...] = ()  # whose the sessions are that wait or are waited for
    sights: tuple[Sight, ...] = ()  # filled by "diag doctor" alone

    def process(self, pid: int) -> Process | None:
        """Look one process up."""
        return next((process for process in self.processes if process.pid == pid), None)

    def seen(self, pid: int) -> tuple[SeenThread, ...]:
        """All threads seen of one process."""
        return tuple(seen for seen in self.threads if seen.process.pid == pid)

    def stack(self, pid: int, tid: int | None = None) -> Stack | None:
        """The stack of one thread; without ``tid`` that of the main thread."""
        wanted = tid or pid
        return next((seen.stack for seen in self.seen(pid) if seen.thread.tid == wanted), None)

    def without_locals(self) -> Snapshot:
        """Take the variables out of every frame: they are shown only to who asks for them."""
        return replace(
            self,
            threads=tuple(seen.without_locals() for seen in self.threads),
            tasks=tuple(task.without_locals() for task in self.tasks),
        )

    def waits_of(self, actor: Actor) -> tuple[Wait, ...]:
        """What a thread or task waits for; for a whole process, what any of its threads waits for."""
        return tuple(
            wait
            for wait in self.waits
            if wait.waiter.pid == actor.pid
            and (
                wait.waiter.task_id == actor.task_id
                if actor.task_id or wait.waiter.task_id
                else actor.tid in (None, wait.waiter.tid)
            )
        )
