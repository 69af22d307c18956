"""What one link may look at: a thread, and what is known around it."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Evidence, Where
from diag.model.graph import Actor, Hold, How, Resource, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.facts import Frame, Process, Stack, Thread
    from diag.model.io import Asked, End, OpenFile, SemaphoreWait, Socket
    from diag.model.mounts import FileSystem

# Where interpreters keep what is not the user's own program.
_LIBRARY = re.compile(
    r"/lib(64)?/(python|pypy)[\d.]*t?/|/(site|dist)-packages/|/python\d+\.zip/|^<(?!stdin|string)"
)
# Thread.run, _bootstrap, _bootstrap_inner, 2.7's __bootstrap.
_BOOTSTRAP = re.compile(r"(?:^|\.|_)(?:run|bootstrap|bootstrap_inner)$")


class Around(NamedTuple):
    """What is known of the neighbourhood; shared by all scenes of one look."""

    processes: Mapping[int, Process]
    stacks: Mapping[tuple[int, int], Stack]  # by pid and tid
    files: Mapping[tuple[int, int], OpenFile]  # by pid and descriptor
    sockets: Mapping[int, Socket]  # by inode
    ends: Mapping[tuple[int, int], tuple[End, ...]]  # by device and inode; missing: nobody looked
    hidden: int  # processes whose descriptors could not be seen: "nobody" is not proven while > 0
    gil_waiters: frozenset[tuple[int, int]]  # threads that sleep on their interpreter's own lock
    file_locks: Mapping[tuple[int, int], Wait]  # waits for file locks, by pid and tid
    file_systems: Mapping[tuple[int, int], FileSystem]  # that do not answer yet, by pid and tid
    semaphores: Mapping[tuple[int, int], SemaphoreWait] = MappingProxyType({})  # SysV's, by pid and tid


class Scene(NamedTuple):
    """One thread, ready to be linked."""

    process: Process
    thread: Thread
    stack: Stack | None
    asked: Asked | None
    around: Around

    @property
    def call(self) -> str:
        """The name of its system call, or ""."""
        return (self.thread.syscall and self.thread.syscall.name) or ""

    @property
    def argument(self) -> tuple[int, ...]:
        """The arguments of its system call."""
        return self.thread.syscall.arguments if self.thread.syscall else ()

    @property
    def file(self) -> OpenFile | None:
        """What the first descriptor it asked for is open on."""
        if not self.asked or not self.asked.fds:
            return None
        return self.around.files.get((self.process.pid, self.asked.fds[0]))

    def wait(
        self,
        kind: str,
        key: str,
        words: str,
        how: How,
        *,
        name: str | None = None,
        path: str | None = None,
        address: str | None = None,
        mode: str | None = None,
        held_by: tuple[Actor, ...] = (),
        certain: bool = True,
    ) -> Wait:
        """Build the wait of this thread; ``key`` is equal for waits for the same thing."""
        thread, asked = self.thread, self.asked
        resource = Resource(
            kind=kind, key=f"{kind}:{key}", name=name or words, path=path, address=address, mode=mode
        )
        return Wait(
            waiter=actor(self.process, thread, self.stack),
            resource=resource,
            how=how,
            words=words,
            where=asked_at(self.stack),
            since=thread.last_ran,
            fd=asked.fds[0] if asked and len(asked.fds) == 1 else None,
            holds=tuple(Hold(holder=holder, resource=resource, certain=certain) for holder in held_by),
            certain=certain,
            evidence=(self.evidence,),
        )

    def phrase(self, words: str) -> str:
        """Add to ``words`` how long the wait may last, and where in the program it began."""
        through = asked_through(self.stack)
        comma = "," if through and "," in words else ""
        return f"{words}{comma}{through}{time_limit(self.asked)}{at(self.stack)}"

    @property
    def evidence(self) -> Evidence:
        """The kernel's own words on this thread."""
        call, thread = self.thread.syscall, self.thread
        base = f"/proc/{thread.pid}/task/{thread.tid}"
        if call is None:
            return Evidence(source=f"{base}/stat", text=f"state {thread.state}, wchan {thread.wchan or '?'}")
        words = [str(call.number), *(hex(value) for value in call.arguments)]
        return Evidence(
            source=f"{base}/syscall", text=f"{' '.join(words)} ({call.name}), wchan {thread.wchan}"
        )


def actor(process: Process, thread: Thread | None = None, stack: Stack | None = None) -> Actor:
    """Name a thread, or a whole process."""
    return Actor(
        pid=process.pid,
        started=process.started,
        process=process.name,
        tid=thread.tid if thread else None,
        thread=((stack and stack.thread) or thread.name) if thread else None,
        container_pid=process.container_pid,
        where=asked_at(stack),
    )


def is_library(frame: Frame) -> bool:
    """Whether a frame is the interpreter's, an installed package's, or native: not the user's program."""
    return frame.native or bool(_LIBRARY.search(frame.file))


def asked_at(stack: Stack | None) -> Where | None:
    """Find the user's own line: the innermost frame outside of libraries.

    Where all is library, the outermost frame: what the thread is there for. What ``threading`` begins
    every thread with says nothing.
    """
    if stack is None or not stack.frames:
        return None
    own = [frame for frame in stack.frames if not is_library(frame)]
    telling = [frame for frame in stack.frames if not frame.native and not _is_bootstrap(frame)]
    frame = own[0] if own else telling[-1] if telling else stack.frames[0]
    return Where(function=frame.function, file=frame.file, line=frame.line)


def _is_bootstrap(frame: Frame) -> bool:
    return frame.file.endswith("/threading.py") and bool(_BOOTSTRAP.search(frame.function))


def asked_through(stack: Stack | None) -> str:
    """Say by which library function the user's line waits: "in queue.Queue.get (queue.py:171), "."""
    for inner, outer in zip(stack.frames, stack.frames[1:], strict=False) if stack else ():
        if not is_library(outer):
            if not is_library(inner) or inner.native:
                return ""
            file = inner.file.rpartition("/")[2]
            return f" in {file.rpartition('.')[0]}.{inner.function} ({file}:{inner.line})"
    return ""


def at(stack: Stack | None) -> str:
    """Say where the user's line is: ", app.py:12 in work"; "" when no stack is known."""
    where = asked_at(stack)
    return f", {where}" if where else ""


def seconds(value: float) -> str:
    """Write a duration as people say it: "0.5 s", "42 s", "3 min", "2.1 h", "5 days"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def time_limit(asked: Asked | None) -> str:
    """Say how long a timed wait goes on: " for at most 5 s more"; "" when it waits for ever."""
    if asked is None:
        return ""
    if asked.left is not None:
        return f" for {seconds(max(asked.left, 0.0))} more at most"
    if asked.limit is not None and asked.limit != float("inf"):
        return f" for at most {seconds(asked.limit)}"
    return "" if asked.limit is None else " for a limited time"


def how_long(asked: Asked | None) -> How:
    """Tell a timed wait from an endless one."""
    return How.TIMED if asked and (asked.limit is not None or asked.left is not None) else How.BLOCKED
