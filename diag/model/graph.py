"""The wait graph: who waits for what, held by whom. Built by ``waits``, read by ``rules``."""

from __future__ import annotations

from enum import Enum

from diag.model.facts import Evidence, Fact, Where


class How(str, Enum):
    """In which way a thread waits."""

    BLOCKED = "blocked"  # asleep in the kernel until it gets it
    TIMED = "timed"  # asleep with a time limit: no proof of a deadlock
    POLLING = "polling"  # tries, sleeps, tries again
    IDLE = "idle"  # waits for work, as it should
    RUNNING = "running"  # does not wait at all


class Actor(Fact, frozen=True, kw_only=True):
    """A thread, or a whole process where the thread is not known."""

    pid: int
    started: int  # clock ticks since boot; 0: unknown (the process is gone)
    process: str  # its name (comm)
    tid: int | None = None
    thread: str | None = None  # the thread's name
    container_pid: int | None = None
    where: Where | None = None  # what it was doing when seen
    address: str | None = None  # of a client on another host: pid is 0 then
    task: str | None = None  # a coroutine or greenlet that the thread runs in turn with others: its name
    task_id: int = 0  # its address; 0: the thread itself
    task_kind: str = "task"  # or "greenlet"


class SessionId(Fact, frozen=True, kw_only=True, order=True):
    """Names a session of a database server."""

    server: str  # its DSN without secrets
    id: int


class Resource(Fact, frozen=True, kw_only=True):
    """Something that is waited for. Two waits with equal ``key`` wait for the same thing."""

    kind: str  # file-lock, soft-lock, sleep, socket, pipe, child, futex, epoll ...
    key: str
    name: str  # in words: "flock on /run/a.lock"
    path: str | None = None
    device: int | None = None
    inode: int | None = None
    lock: str | None = None  # flock, posix, ofd, lease, soft
    # read, write: of a lock; of a pipe or socket what the waiter wants to do; connect: nobody has accepted it
    mode: str | None = None
    first: int | None = None  # byte range of the lock
    last: int | None = None  # inclusive; None: to the end of the file
    part: str | None = None  # what SQLite calls these bytes: "RESERVED", "WAL WRITE"
    address: str | None = None  # of a socket's peer


class Handler(Fact, frozen=True, kw_only=True):
    """Code that interrupted a thread: a signal handler, a finalizer."""

    name: str  # "SIGTERM handler", "__del__"
    where: Where
    sender: Actor | None = None  # who keeps sending the signal, where that was seen


class Hold(Fact, frozen=True, kw_only=True):
    """``holder`` has ``resource``, and others can not have it meanwhile."""

    holder: Actor
    resource: Resource
    fd: int | None = None
    taker: int | None = None  # pid that took it, where that is not the holder
    taker_lives: bool = False  # that process still runs: it has closed the file
    since: float | None = None  # start of the holder, seconds since the epoch: it can not be older
    taken_at: Where | None = None  # the line that took it
    certain: bool = True  # False: ownership was inferred, not read
    passive: bool = False  # shares the descriptor with the taker, who has it too and can release it
    abandoned: bool = False  # of a lock inside a process: whoever took it is gone without giving it back
    inherited: bool = False  # the taker is gone or has closed it; this process got it by fork or exec
    handed: bool = False  # inherited, but by a message (SCM_RIGHTS): this process is older than the taker
    session: SessionId | None = None  # of a database lock: the session that has it
    evidence: tuple[Evidence, ...] = ()


class Wait(Fact, frozen=True, kw_only=True):
    """``waiter`` can not go on before it has ``resource``."""

    waiter: Actor
    resource: Resource
    how: How
    words: str  # "waits for flock on /run/a.lock"
    where: Where | None = None  # the line that asked for it
    since: float | None = None  # seconds since the epoch, a lower bound of how long it waits
    fd: int | None = None
    holds: tuple[Hold, ...] = ()  # what stands in its way
    behind: Actor | None = None  # an earlier waiter it also queues behind
    handler: Handler | None = None  # the handler, between taking and asking again, that made it
    retaken: Where | None = None  # the line of the same thread that took what it now asks for
    stuck: bool = False  # a second sample showed the same wait, without progress between
    certain: bool = True  # False: the wait was inferred from source or a pattern, not read
    serves: bool = False  # on a connection that the other end has made: it may wait for the next request
    session: SessionId | None = None  # of the connection it waits on, where that leads to a database server
    evidence: tuple[Evidence, ...] = ()
