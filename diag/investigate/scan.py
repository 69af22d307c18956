"""``diag scan``: the whole host, cheap facts first, stacks only of those who seem to be stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import file_locks, native_lock, pyspy
from diag.collectors import process as processes
from diag.collectors import threads as thread_facts
from diag.collectors.asked import FILE_CALLS
from diag.errors import DiagError
from diag.investigate import idle_loops, lock_files, lock_views, segfaults, sqlite_waits, suspects
from diag.investigate.databases import NOBODY, Access, Databases
from diag.investigate.explore import explore
from diag.investigate.inquiry import Inquiry, is_python
from diag.investigate.lock_files import LockFiles
from diag.investigate.lock_graph import LockGraph
from diag.investigate.surroundings import MOST_PIPES
from diag.investigate.wait_chains import CHAIN_RULES, chains_from
from diag.model.facts import Gap, Thread
from diag.rules import crash_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from diag.host import Host
    from diag.model.facts import Syscall
    from diag.model.snapshot import Snapshot

    Say = Callable[[str, float], None]
    ThreadId = tuple[int, int]

APART = 0.5
"""Seconds between the two cheap looks: most threads that work have run in between."""
MOST_STACKS = 400
"""Python processes whose stacks are read, those most likely to be stuck first; 30 ms each."""
MOST_HUBS = 32
"""Processes with greenlets whose memory is searched for them, a second a gigabyte."""
MOST_PARENTS = 50
"""Parents of theirs that are looked at for a loop that waits for the end of a child."""
DAY = 86400.0
_FUTEX_COMMAND = 0x7F
_ENDLESS_FUTEX = frozenset({0, 6, 9, 13})  # WAIT, LOCK_PI, WAIT_BITSET, LOCK_PI2: include/uapi/linux/futex.h
_KERNEL_THREAD = 0x00200000

LOCKS = frozenset({"flock", "fcntl", "semop", "semtimedop", "msgsnd"}) | FILE_CALLS
WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
READS = frozenset(
    {"read", "readv", "vfork", "clone", "clone3", "recvfrom", "recvmsg", "wait4", "waitid", "msgrcv"}
)
"""Calls that may last for ever, the more suspicious ones first."""


class Glimpse(NamedTuple):
    """One thread, by three small files of /proc."""

    state: str
    call: Syscall | None
    ran: str  # /proc/PID/task/TID/schedstat: changes whenever it has run


class Counts(NamedTuple):
    """What was looked at."""

    processes: int
    threads: int
    denied: tuple[int, ...]


def look(host: Host, *, access: Access = NOBODY, say: Say = lambda _text, _done: None) -> Snapshot:
    """Look at every process of the host; ``say`` is told what is being done, and how far it is (0 to 1)."""
    inquiry = Inquiry(host, pause=False)
    inquiry.databases = Databases(inquiry, access)
    first, counts = _glimpses(host, say)
    say("waiting a moment for the second look", 0.3)
    host.sleep(APART)
    still = list(_still(host, first))
    start = sorted(_choose(inquiry, first, still, say))
    start += _pausing_parents(inquiry, start)
    graph = _locks(inquiry, say)
    start = sorted({*start, *(wait.waiter.pid for wait in graph.waits), *inquiry.databases.pids()})
    snapshot = explore(inquiry, start, lambda text: say(text, 0.6), graph)
    stuck = sorted({seen.process.pid for seen in snapshot.threads if seen.wait and seen.wait.stuck})
    say("reading the logs for crash loops", 0.9)
    return replace(
        _with_crashes(host, snapshot),
        gaps=(*snapshot.gaps, *_denied(host, counts)),
        chains=tuple(chains_from(snapshot, stuck)),
        counted=(
            ("processes", counts.processes),
            ("threads", counts.threads),
            ("looked_at_closely", len({seen.process.pid for seen in snapshot.threads})),
        ),
    )


def _glimpses(host: Host, say: Say) -> tuple[dict[ThreadId, Glimpse], Counts]:
    """Look at each thread that sleeps in a call that may last for ever."""
    found: dict[ThreadId, Glimpse] = {}
    pids, seen, denied = processes.pids(host), 0, []
    for number, pid in enumerate(pids):
        if number % 50 == 0:
            say(f"looking at {len(pids)} processes", 0.3 * number / len(pids))
        if _is_kernel_thread(host, pid):
            continue
        for tid in _tids(host, pid):
            seen += 1
            try:
                glimpse = _glimpse(host, pid, tid)
            except PermissionError:
                denied.append(pid)
                break
            if glimpse:
                found[pid, tid] = glimpse
    return found, Counts(len(pids), seen, tuple(denied))


def _is_kernel_thread(host: Host, pid: int) -> bool:
    try:
        stat = processes.parse_stat(host.read(f"/proc/{pid}/stat", 4096).decode("utf-8", "replace"))
    except (OSError, DiagError):
        return True  # gone
    return bool(int(stat["flags"]) & _KERNEL_THREAD)


def _tids(host: Host, pid: int) -> list[int]:
    try:
        return sorted(map(int, host.names(f"/proc/{pid}/task")))
    except OSError:
        return []


def _glimpse(host: Host, pid: int, tid: int) -> Glimpse | None:
    """Read one thread; None when it is gone, or in no call that lasts. Raises ``PermissionError``."""
    base = f"/proc/{pid}/task/{tid}"
    try:
        call = thread_facts.parse_syscall(_text(host, f"{base}/syscall"), host.info.machine)
        state = _text(host, f"{base}/stat").rpartition(")")[2].split()[0]
        if state not in "DTt" and (call is None or suspicion(call) is None):
            return None
        return Glimpse(state, call, _text(host, f"{base}/schedstat"))
    except PermissionError:
        raise
    except (OSError, IndexError, ValueError):
        return None


def _text(host: Host, path: str) -> str:
    return host.read(path, 4096).decode("utf-8", "replace")


def suspicion(call: Syscall) -> int | None:
    """How suspicious it is to stay in a system call, 0 most; None: it is how idle threads wait."""
    if call.name in LOCKS or call.name in WRITES or call.number < 0:  # below 0: a page fault
        return 0
    if call.name == "futex" and len(call.arguments) > 3:
        endless = call.arguments[1] & _FUTEX_COMMAND in _ENDLESS_FUTEX and not call.arguments[3]
        return 1 if endless else None
    if _idles(call):
        return 3
    return 2 if call.name in READS or _polls_few(call) else None


def _idles(call: Syscall | None) -> bool:
    """Whether a call is how an event loop waits, and no single answer that a library waits for."""
    return idle_loops.idles(call) and not (call and _polls_few(call))


def _polls_few(call: Syscall) -> bool:
    """Whether a call waits for a descriptor or a child's without a time limit: as who waits for an answer."""
    if call.name not in ("poll", "ppoll") or len(call.arguments) < 3:
        return False
    _, count, limit = call.arguments[:3]
    return 0 < count <= MOST_PIPES and (not limit if call.name == "ppoll" else bool(limit & 0x80000000))


def _still(host: Host, first: dict[ThreadId, Glimpse]) -> Iterator[ThreadId]:
    """Those that have not run since the first look."""
    for (pid, tid), glimpse in first.items():
        # A loop with timers runs now and then; what its tasks wait for does not change by that.
        if (glimpse.state == "S" and idle_loops.idles(glimpse.call)) or _has_not_run(host, pid, tid, glimpse):
            yield pid, tid


def _has_not_run(host: Host, pid: int, tid: int, glimpse: Glimpse) -> bool:
    """Whether a thread stands where it did: without having run, it is in the same call."""
    try:
        if glimpse.ran:
            return _text(host, f"/proc/{pid}/task/{tid}/schedstat") == glimpse.ran
        return _glimpse(host, pid, tid) == glimpse
    except OSError:
        return False


def _choose(
    inquiry: Inquiry, first: dict[ThreadId, Glimpse], still: Iterable[ThreadId], say: Say
) -> Iterator[int]:
    """Choose whom to look at closely: everybody where that is cheap, and the likeliest of Python's."""
    by_process: dict[int, dict[int, Glimpse]] = {}
    for pid, tid in still:
        by_process.setdefault(pid, {})[tid] = first[pid, tid]
    ranked = sorted(by_process, key=lambda pid: (_rank(by_process[pid].values()), pid))
    stacks = 0
    left_out: list[int] = []
    hubs: list[int] = []
    for number, pid in enumerate(ranked):
        if number % 50 == 0:
            say(f"choosing among {len(ranked)} processes", 0.4)
        process = inquiry.process(pid)
        if process is None:
            continue
        # A loop that waits for events is how servers idle: only what it may hide counts.
        others = {tid: one for tid, one in by_process[pid].items() if not _idles(one.call)}
        if not others and not idle_loops.has_tasks(inquiry.host, pid):
            continue
        if not is_python(inquiry.host, process):
            if others and not _only_idles(inquiry.host, pid, others):
                yield pid
            continue
        stacks += 1
        if stacks > MOST_STACKS:
            left_out.append(pid)
        elif others or idle_loops.may_be_stuck(inquiry, pid):
            yield pid
        elif idle_loops.has_hub(inquiry, pid):
            hubs.append(pid)
    yield from (pid for pid in hubs[:MOST_HUBS] if idle_loops.greenlets_may_be_stuck(inquiry, pid))
    if left_out:
        inquiry.gaps.append(_too_many(left_out))
    if hubs[MOST_HUBS:]:
        inquiry.gaps.append(_unsearched(hubs[MOST_HUBS:]))


def _pausing_parents(inquiry: Inquiry, pids: Collection[int]) -> list[int]:
    """Parents in Python of those who may be stuck, that sleep for a time: perhaps between two looks."""
    parents = {process.ppid for pid in pids if (process := inquiry.process(pid)) and process.ppid > 1}
    return sorted(
        pid
        for pid in parents.difference(pids)
        if (process := inquiry.process(pid))
        and is_python(inquiry.host, process)
        and any(call and call.name in suspects.PAUSES for _, call in thread_facts.syscalls(inquiry.host, pid))
    )[:MOST_PARENTS]


def _only_idles(host: Host, pid: int, threads: dict[int, Glimpse]) -> bool:
    """Whether all that threads of a native program wait for are notifications: no lock with an owner."""
    return all(
        glimpse.state == "S"
        and glimpse.call is not None
        and glimpse.call.name == "futex"
        and _is_ownerless(host, pid, tid, glimpse)
        for tid, glimpse in threads.items()
    )


def _is_ownerless(host: Host, pid: int, tid: int, glimpse: Glimpse) -> bool:
    thread = Thread(pid=pid, tid=tid, name="", state=glimpse.state, syscall=glimpse.call)
    lock = native_lock.collect(host, thread, (tid,))
    return lock is not None and lock.owner_tid is None and lock.owner_ident is None


def _rank(glimpses: Collection[Glimpse]) -> tuple[int, int]:
    """Sort by the worst thread; threads on one and the same futex wait for one lock: they go first."""
    worst = min((suspicion(each.call) if each.call else 0) or 0 for each in glimpses)
    words = [each.call.arguments[0] for each in glimpses if each.call and each.call.name == "futex"]
    return worst, len(set(words)) - len(words)


def _too_many(pids: list[int]) -> Gap:
    return Gap(
        source="py-spy",
        hides=f"what the threads of {len(pids)} more processes wait for (pid {pids[0]} and others)",
        reason=f"more than {MOST_STACKS} Python processes have threads that do not move",
        hint="ask about one that you suspect: diag why PID",
        blinds=CHAIN_RULES,
    )


def _unsearched(pids: list[int]) -> Gap:
    return Gap(
        source="/proc/PID/mem",
        hides=f"whether greenlets of {len(pids)} more processes wait for each other (pid {pids[0]} …)",
        reason=f"more than {MOST_HUBS} processes run greenlets, and their memory has to be searched",
        hint="ask about one that you suspect: diag why PID",
        blinds=frozenset({"T009"}),
    )


def _locks(inquiry: Inquiry, say: Say) -> LockGraph:
    """All file locks of the host, with those who wait and those who poll for them."""
    say("looking at file locks", 0.5)
    try:
        table = file_locks.collect(inquiry.host)
    except OSError:
        table = ()
    graph = LockGraph(inquiry, LockFiles(inquiry.host, (), table, lock_files.unlisted(inquiry.host)))
    graph.add_blocked()  # also without a line in the table: in a pid namespace it leaves out whole queues
    if graph.table:
        suspects.add_pollers(inquiry, graph)
        sqlite_waits.add(inquiry, graph)
    inquiry.gaps.extend(lock_views.outside(graph, lock_views.UNLISTED, frozenset()))
    return graph


def _with_crashes(host: Host, snapshot: Snapshot) -> Snapshot:
    """Add what crashed in the last day, as the logs tell it."""
    try:
        span = segfaults.Span(since=host.clock().wall - DAY)
        seen = segfaults.look(host, (), span=span, pause=False, named_from=crash_loop.LEAST)
    except DiagError:
        return snapshot
    return replace(snapshot, crashes=seen.crashes, crash_groups=seen.crash_groups)


def _denied(host: Host, counts: Counts) -> Iterator[Gap]:
    """Say once of how many processes nothing could be seen."""
    if not counts.denied:
        return
    process = processes.collect(host, counts.denied[0], host.clock())
    if process is None:
        return
    gap = pyspy.denied_gap(host, process)
    more = f" and of {len(counts.denied) - 1} more" if len(counts.denied) > 1 else ""
    yield replace(gap, hides=f"{gap.hides}{more}", blinds=gap.blinds | CHAIN_RULES)
