"""What the system said, without opinion. Times are seconds since the epoch unless said."""

from __future__ import annotations

import msgspec


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every record that a collector makes."""


class Evidence(Fact, frozen=True, kw_only=True):
    """A raw piece of the system's own words, and where it was read."""

    source: str  # "/proc/locks", "py-spy dump --pid 12", "/var/log/messages:17"
    text: str


class Gap(Fact, frozen=True, kw_only=True):
    """Evidence that was wanted and could not be had: a fact like any other."""

    source: str  # "py-spy", "/proc/12/fd"
    hides: str  # what stays unseen because of it, in words: "stacks of pid 12"
    reason: str  # "permission denied"
    hint: str  # what lifts it, fitting the facts at hand
    blinds: frozenset[str] = frozenset()  # codes of the rules that may miss something because of it


class ProcessKey(Fact, frozen=True, kw_only=True, order=True):
    """Names one process for ever: a pid alone is used again after its process has ended."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat


class Process(Fact, frozen=True, kw_only=True):
    """One process, as /proc describes it to anybody."""

    pid: int
    ppid: int
    started: int  # clock ticks since boot
    since: float  # the same instant, seconds since the epoch
    name: str  # comm: at most 15 bytes, chosen by the process
    state: str  # R S D T t Z X I
    kernel: bool = False  # a kernel thread
    argv: tuple[str, ...] = ()
    uid: int | None = None
    exe: str | None = None
    cgroup: str | None = None
    container_pid: int | None = None  # its pid in its own namespace, where that differs
    tracer: int | None = None
    frozen: bool = False  # its cgroup is frozen (v1 or v2)
    threads: int = 1
    caught: int | None = None  # signals with a handler: bit n-1 is signal n (SigCgt); None: not readable

    @property
    def key(self) -> ProcessKey:
        """Its name for ever."""
        return ProcessKey(pid=self.pid, started=self.started)

    @property
    def title(self) -> str:
        """What an engineer calls it: its command line, or its kernel name."""
        return " ".join(self.argv) or (f"[{self.name}]" if self.kernel else self.name)


class Syscall(Fact, frozen=True, kw_only=True):
    """The system call a thread sleeps in: /proc/PID/task/TID/syscall."""

    number: int  # -1: blocked, but not in a system call
    name: str | None  # None: not in our table for this architecture
    arguments: tuple[int, ...]


class Thread(Fact, frozen=True, kw_only=True):
    """One kernel thread of a process at one instant."""

    pid: int
    tid: int
    name: str
    state: str
    syscall: Syscall | None = None  # None: running, or not readable
    wchan: str | None = None  # None: running, or not readable (an unprivileged reader sees "0")
    voluntary: int = 0  # context switches because it waited
    involuntary: int = 0
    cpu: int = 0  # clock ticks of processor time
    last_ran: float | None = None  # seconds since the epoch; se.exec_start of /proc/PID/task/TID/sched


class Local(Fact, frozen=True, kw_only=True):
    """A variable of a Python frame, as py-spy reads it from memory."""

    name: str
    value: str  # py-spy's repr: '"text"' in double quotes, '<Type at 0x…>' for what it does not unfold
    address: int
    argument: bool = False

    @property
    def type_name(self) -> str | None:
        """The type, where py-spy shows only that."""
        head, at, _ = self.value.partition(" at 0x")
        return head[1:] if at and head.startswith("<") else None


class Frame(Fact, frozen=True, kw_only=True):
    """One frame of a stack, innermost first in ``Stack.frames``."""

    function: str
    file: str
    line: int  # 0: unknown
    native: bool = False
    entry: bool = False  # called from C: a signal handler, a callback, the outermost frame
    locals: tuple[Local, ...] = ()
    entered: tuple[int, ...] = ()  # what its with statements will leave, outermost first; then leftovers
    library: str | None = None  # native frames of a core: the file their code lies in
    address: int = 0  # native frames of a core: of the instruction, or of the return to it


_AT_EXIT = (
    "/threading.py",
    "/multiprocessing/util.py",
    "/concurrent/futures/thread.py",
    "/concurrent/futures/process.py",
    "/logging/__init__.py",
)
"""Library files whose functions are the outermost frame only when a program has come to its end."""


class Stack(Fact, frozen=True, kw_only=True):
    """The Python (and native) stack of one thread."""

    pid: int
    tid: int | None  # None: an interpreter too old to tell (2.7 threads without a native id)
    thread: str | None  # threading's name
    ident: int = 0  # pthread_self(), what Python calls threading.get_ident()
    frames: tuple[Frame, ...]
    owns_gil: bool = False
    active: bool = False

    @property
    def at_exit(self) -> bool:
        """Whether it is where a program that has come to its end waits for its threads."""
        if any(
            frame.function.endswith("_do_shutdown") and "/asyncio/" in frame.file for frame in self.frames
        ):
            return True  # asyncio.run() waits for the threads of its executor
        outer = next((frame for frame in reversed(self.frames) if not frame.native), None)
        name = outer.function.rpartition(".")[2] if outer else ""
        if outer is None or name == "<module>":
            return False
        # Threads begin in _bootstrap; what a program registered with atexit is called from nowhere.
        return any(outer.file.endswith(file) for file in _AT_EXIT) and "bootstrap" not in name


class Where(Fact, frozen=True, kw_only=True):
    """A place in the source."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        """Format as ``file.py:12 in function``, with the file's last part only."""
        return f"{self.file.rpartition('/')[2]}:{self.line} in {self.function}"
