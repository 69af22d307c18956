"""What was read of Python objects in another process. Addresses are those of the process looked at."""

from __future__ import annotations

from diag.model.facts import Fact, Where


class Object(Fact, frozen=True, kw_only=True):
    """Some Python object: where it is and what it is."""

    address: int
    type: str  # tp_name: "dict", "_thread.lock", "Connection"
    type_address: int = 0


class LockObject(Fact, frozen=True, kw_only=True):
    """Something a thread can block on, as it lies in memory.

    ``futex_words`` are the addresses a thread blocks on that wants *it*: the futex word of a blocked
    thread, or, where the interpreter parks threads (3.13 and later), the address it is parked on.
    ``waiters`` are the words of threads that have been let in and now wait for a notification.
    """

    address: int
    kind: str  # lock rlock condition semaphore event barrier thread queue simple-queue semlock module-lock
    type: str  # the class, with its module where it has one: "threading.Condition"
    futex_words: tuple[int, ...] = ()
    locked: bool | None = None  # None: it has no such state, or it could not be read
    owner_ident: int | None = None  # the owner's pthread_self; None: nobody, or this kind knows no owner
    count: int | None = None  # how often the owner took it; a semaphore's value; an event's flag
    maximum: int | None = None  # how many may have a bounded semaphore; how many a barrier waits for
    waiters: tuple[int, ...] = ()
    lock: int | None = None  # address of the lock it is built on
    name: str | None = None  # a thread's or module's name


class QueueObject(Fact, frozen=True, kw_only=True):
    """A queue between threads, processes or tasks."""

    address: int
    type: str
    length: int | None  # None: unknown; multiprocessing: what this process has not yet sent
    maxsize: int = 0  # 0: unbounded
    unfinished: int | None = None
    mutex: LockObject | None = None  # multiprocessing: held by the one that reads the pipe
    not_empty: LockObject | None = None  # its waiters want an item
    not_full: LockObject | None = None  # its waiters want room
    all_done: LockObject | None = None  # its waiters are in join()
    reader_fd: int | None = None  # of a multiprocessing queue: the pipe that its getters read
    writer_fd: int | None = None


class ThreadObject(Fact, frozen=True, kw_only=True):
    """One threading.Thread."""

    address: int
    name: str
    ident: int | None  # pthread_self
    tid: int | None = None  # the kernel's thread id (3.8 and later)
    daemon: bool | None = None
    alive: bool | None = None
    join_words: tuple[int, ...] = ()  # what a thread in join() blocks on
    target: str | None = None  # the function it runs: "app.py:12 in work"


class FutureObject(Fact, frozen=True, kw_only=True):
    """A concurrent.futures or asyncio future."""

    address: int
    type: str
    state: str | None  # PENDING RUNNING CANCELLED CANCELLED_AND_NOTIFIED FINISHED
    condition: LockObject | None = None
    callbacks: tuple[int, ...] = ()  # addresses of the callables
    waiters: tuple[int, ...] = ()  # words that threads in wait() or as_completed() block on


class PoolObject(Fact, frozen=True, kw_only=True):
    """An executor or a multiprocessing pool."""

    address: int
    type: str
    max_workers: int | None
    threads: tuple[ThreadObject, ...] = ()
    pids: tuple[int, ...] = ()
    queued: int | None = None  # work items nobody has started
    pending: int | None = None  # work items without a result, those running included
    idle: int | None = None  # value of the idle semaphore, where there is one
    queue: QueueObject | None = None
    items: tuple[int, ...] = ()  # addresses of the futures in the queue, in order, at most 100
    shutdown: bool | None = None


class TaskFrame(Fact, frozen=True, kw_only=True):
    """One coroutine or greenlet frame. ``locals`` are pairs of name and object address."""

    where: Where
    locals: tuple[tuple[str, int], ...] = ()


class TaskObject(Fact, frozen=True, kw_only=True):
    """One asyncio task."""

    address: int
    name: str | None
    state: str | None
    loop: int | None
    frames: tuple[TaskFrame, ...] = ()  # innermost first
    awaits: Object | None = None  # the future or task it waits for
    waits_for: tuple[int, ...] = ()  # locks, events, queues ... among whose waiters that future is
    running: bool = False


class LoopObject(Fact, frozen=True, kw_only=True):
    """One asyncio event loop."""

    address: int
    type: str
    ident: int | None  # pthread_self of the thread that runs it
    timers: int | None  # handles that are due later, cancelled ones left out; None: not readable (uvloop)
    timed: frozenset[int] = frozenset()  # what those handles were made for: futures, tasks, other objects
    ready: int | None = None  # handles that are due now
    watched: tuple[int, ...] | None = None  # descriptors, the loop's own to wake it left out
    calls: tuple[Where, ...] = ()  # the functions of the program itself that are due later


class GreenletObject(Fact, frozen=True, kw_only=True):
    """One greenlet."""

    address: int
    type: str
    parent: int | None
    frames: tuple[TaskFrame, ...] = ()  # innermost first; empty while it runs or before its start
    is_hub: bool = False


class FileObject(Fact, frozen=True, kw_only=True):
    """An open Python file."""

    address: int
    type: str
    fd: int | None
    path: str | None
    closed: bool | None = None
