"""What the arguments of a system call stand for: files, sockets, the other ends, time limits."""

from __future__ import annotations

from enum import Enum

from diag.model.facts import Fact


class Semop(Fact, frozen=True, kw_only=True):
    """One operation of semop(2)."""

    number: int
    change: int  # below 0: take; above: give; 0: wait until it is 0
    undo: bool = False  # SEM_UNDO: taken back when the process ends


class Asked(Fact, frozen=True, kw_only=True):
    """What one sleeping thread asked the kernel for, read from its arguments."""

    pid: int
    tid: int
    fds: tuple[int, ...] = ()
    writes: bool = False  # it waits until it can write; otherwise until it can read
    limit: float | None = None  # seconds it is willing to wait in all; None: for ever, or unknown
    left: float | None = None  # seconds of that still to go
    path: str | None = None  # that it wants to open, or wants to know of
    base: int | None = None  # the descriptor a relative path begins at; None: the working directory
    address: str | None = None  # of the UNIX socket that it connects to
    semid: int | None = None  # the SysV semaphore set it operates on
    operations: tuple[Semop, ...] = ()
    child: int | None = None  # waitpid's argument; a number of the target's own pid namespace


class SysvSemaphore(Fact, frozen=True, kw_only=True):
    """One semaphore of a set, as semctl(2) describes it."""

    number: int
    value: int
    last_pid: (
        int  # who operated on it last, as the reader's pid namespace names it; 0: nobody, or unknown there
    )
    waiting: int  # how many wait for it to grow


class SysvSet(Fact, frozen=True, kw_only=True):
    """Some semaphores of a SysV set."""

    semid: int
    key: int
    size: int  # semaphores in the set
    changed: float  # when somebody last operated on the set, in whole seconds since the epoch; 0: unknown
    semaphores: tuple[SysvSemaphore, ...]


class SemaphoreWait(Fact, frozen=True, kw_only=True):
    """The SysV semaphore that keeps one thread waiting."""

    namespace: str  # the ipc namespace: "ipc:[4026531839]"
    semaphores: SysvSet
    semaphore: SysvSemaphore
    operation: Semop  # the one that can not be done
    last_waits: bool = False  # whoever operated on it last waits to take from it as well
    all_seen: bool = True  # False: processes may be hidden (hidepid), and not to be seen does not mean gone


class OpenFile(Fact, frozen=True, kw_only=True):
    """What one descriptor of a process is open on."""

    pid: int
    fd: int
    target: str  # as /proc/PID/fd has it: "/path", "pipe:[12]", "socket:[34]", "anon_inode:[eventpoll]"
    device: int = 0  # st_dev; 0: unknown
    inode: int = 0  # of an eventfd its number: all share one inode; of a terminal see collectors/terminals
    watched: tuple[int, ...] = ()  # epoll: the descriptors it watches
    refers: int | None = None  # pidfd: the process it stands for

    @property
    def kind(self) -> str:
        """``socket``, ``pipe``, ``epoll``, ``terminal`` …, or ``file`` for all else with a path."""
        if self.target.startswith("anon_inode:"):
            name = self.target.removeprefix("anon_inode:").strip("[]")
            return {"eventpoll": "epoll"}.get(name, name)
        if self.target.startswith(("/dev/pts/", "/dev/ptmx")):
            return "terminal"
        return "file" if self.target.startswith("/") else self.target.partition(":")[0]


class SqliteFile(Enum):
    """Which of SQLite's files one is."""

    DATABASE = "database"
    WAL_INDEX = "wal-index"


class Socket(Fact, frozen=True, kw_only=True):
    """One row of /proc/net/{tcp,tcp6,udp,udp6,unix,netlink}."""

    inode: int
    family: str  # tcp, tcp6, udp, udp6, unix, netlink
    state: str  # established, listen, syn-sent, close-wait …; "" where the protocol has none
    local: str = ""  # "127.0.0.1:80", "/run/x.sock", "@abstract"
    remote: str = ""
    peer: int | None = None  # inode of the other end, where it is on this host; 0: it has none
    queued: bool = False  # nobody has accepted the connection yet: ``peer`` is the listening socket
    serves: bool = False  # the other end made the connection


class End(Fact, frozen=True, kw_only=True):
    """A descriptor, of any process, on one pipe or socket."""

    pid: int
    fd: int
    device: int
    inode: int
    reads: bool = True
    writes: bool = True
