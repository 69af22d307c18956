"""Whose stacks to read for pollers: who sleeps for a short time, now and then, in a Python process.

Only /proc is read here, and nobody is stopped.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import asked, threads
from diag.collectors import process as processes
from diag.investigate import named_pollers, unread_pollers
from diag.model.facts import Gap, Thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.model.facts import Syscall

PAUSES = frozenset({"nanosleep", "clock_nanosleep", "select", "pselect6", "poll", "ppoll", "futex"})
"""System calls of time.sleep, select, Event.wait(timeout) in all Python versions."""
LOOPS = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
"""The same of event loops, whose timers wake them."""
_WAITS = frozenset({"wait4", "waitid"})
LONGEST = 15.0
"""Seconds between two tries: longer pauses are not looked for, but in a process that has the file open."""
LOOKS = 4
"""Looks at a process that is awake: a poller sleeps most of the time, but nobody stops it for us."""
_TURNS = 25
"""The same for what is no Python: between two tries a shell starts programs, which takes time."""
PAUSE = 0.02
"""Seconds between them: long enough for a try to end, no multiple of a usual poll interval."""
MOST = 200
"""Processes whose stacks are read; the rest becomes a Gap."""
POLLER_RULES = frozenset({"L001", "L002", "L003", "L004", "L005", "L006", "L008"})


class Suspects(NamedTuple):
    """Processes that may poll."""

    likely: tuple[int, ...]  # who has one of the files open
    possible: tuple[int, ...]
    unseen: tuple[int, ...]  # whose system calls may not be read
    left: tuple[int, ...] = ()  # more than are looked at
    awake: tuple[int, ...] = ()  # who never slept when looked at: busy, or a poller on a busy machine
    loops: tuple[int, ...] = ()  # who sleeps for a short time in an event loop: one of its tasks may poll


def add_pollers(inquiry: Inquiry, graph: LockGraph) -> None:
    """Link every thread that polls for one of the locks of ``graph``, or for an asked path."""
    wanted = graph.polled_paths()
    if not wanted:
        return
    found = find(inquiry, graph)
    if found.likely or found.possible:
        from diag.investigate import pollers  # noqa: PLC0415 - loads a parser of Python source

        pollers.add(inquiry, graph, wanted, found)
    if found.loops:
        from diag.investigate import task_polls  # noqa: PLC0415 - as above

        task_polls.add(inquiry, graph, wanted, found.loops)
        if any(map(graph.files.is_asked, graph.held())) or graph.waits:
            inquiry.gaps.extend(task_polls.gaps(inquiry, found.loops, POLLER_RULES))
    inquiry.gaps.extend(gaps(inquiry, graph, found))
    inquiry.gaps.extend(unread_pollers.gaps(inquiry, graph, restless, POLLER_RULES))
    inquiry.gaps.extend(named_pollers.gaps(inquiry, graph, restless, POLLER_RULES))


def find(inquiry: Inquiry, graph: LockGraph) -> Suspects:
    """Choose the Python processes that may poll for a lock of ``graph``."""
    opened = {item.pid for item in graph.descriptors if graph.files.is_asked_file(item)}
    known = {wait.waiter.pid for wait in graph.waits}
    found: list[int] = []
    unseen: list[int] = []
    looping: set[int] = set()
    left = [
        pid
        for pid in processes.pids(inquiry.host)
        if pid not in known and (pid in opened or _may_be_python(inquiry, pid))
    ]
    for turn in range(LOOKS):
        if turn:
            inquiry.host.sleep(PAUSE)
        awake = []
        for pid in left:
            all_calls = list(threads.syscalls(inquiry.host, pid))
            calls = [(tid, call) for tid, call in all_calls if call]
            if _loops(inquiry, pid, calls, patient=pid in opened):
                looping.add(pid)
            if any(call.name in PAUSES for _, call in calls):
                found += [pid] if _pauses(inquiry, pid, calls, patient=pid in opened) else []
            elif not calls and _hidden(inquiry, pid):
                unseen.append(pid)
            elif len(calls) < len(all_calls):
                awake.append(pid)  # it may be in the middle of a try
        left = awake
        if not left:
            break
    likely = tuple(pid for pid in found if pid in opened)
    possible = tuple(pid for pid in found if pid not in opened)
    room = max(0, MOST - len(likely))
    return Suspects(
        likely=likely[:MOST],
        possible=possible[:room],
        unseen=tuple(unseen),
        left=(*likely[MOST:], *possible[room:]),
        awake=tuple(left[:MOST]),
        loops=tuple(sorted(looping)[:MOST]),
    )


def _may_be_python(inquiry: Inquiry, pid: int) -> bool:
    """Whether the executable's name says Python."""
    try:
        name = inquiry.host.link(f"/proc/{pid}/exe").rpartition("/")[2]
    except OSError:
        try:
            name = inquiry.host.read(f"/proc/{pid}/comm").decode("utf-8", "replace")
        except OSError:
            return False
    return "python" in name


def _pauses(inquiry: Inquiry, pid: int, calls: Sequence[tuple[int, Syscall]], *, patient: bool) -> bool:
    """Whether a thread makes a pause between two tries: a short sleep, not long after it last ran."""
    return any(
        call.name in PAUSES
        and (patient or (_is_short(inquiry, pid, tid, call) and _ran_lately(inquiry, pid, str(tid))))
        for tid, call in calls
    )


def runs_loop(inquiry: Inquiry, pid: int) -> bool:
    """Whether a process sleeps in an event loop with something due; looks again while it is awake."""
    for turn in range(LOOKS):
        if turn:
            inquiry.host.sleep(PAUSE)
        calls = list(threads.syscalls(inquiry.host, pid))
        asleep = [(tid, call) for tid, call in calls if call]
        if _loops(inquiry, pid, asleep):
            return True
        if len(asleep) == len(calls) or (not asleep and _hidden(inquiry, pid)):
            return False
    return False


def _loops(
    inquiry: Inquiry, pid: int, calls: Sequence[tuple[int, Syscall]], *, patient: bool = False
) -> bool:
    """Whether a thread sleeps in an event loop that has something to do soon, and had a moment ago.

    ``patient``: at any time.
    """
    idle = [(tid, call) for tid, call in calls if call.name in LOOPS]
    if patient:
        return any(_limit(inquiry, pid, tid, call) not in (None, inf) for tid, call in idle)
    return any(
        _is_short(inquiry, pid, tid, call) and _ran_lately(inquiry, pid, str(tid)) for tid, call in idle
    )


def restless(inquiry: Inquiry, pids: Iterable[int]) -> tuple[int, ...]:
    """Choose those that sleep for short times again and again, as shells do through their children."""
    found: list[int] = []
    left = list(pids)
    for turn in range(_TURNS):
        if turn:
            inquiry.host.sleep(PAUSE)
        new = [pid for pid in left if _wakes(inquiry, pid)]
        found += new
        left = [pid for pid in left if pid not in new and _is_between(inquiry, pid)]
        if not left:
            break
    return tuple(found)


def _wakes(inquiry: Inquiry, pid: int) -> bool:
    calls = [(tid, call) for tid, call in threads.syscalls(inquiry.host, pid) if call]
    if any(call.name in _WAITS for _, call in calls):
        return any(_wakes(inquiry, child) for child in processes.family(inquiry.host, pid)[1:])
    return any(
        call.name in PAUSES | LOOPS
        and _is_short(inquiry, pid, tid, call)
        and _ran_lately(inquiry, pid, str(tid))
        for tid, call in calls
    )


def _is_between(inquiry: Inquiry, pid: int) -> bool:
    """Whether a process is awake, or waits for a child that may be."""
    calls = [call for _, call in threads.syscalls(inquiry.host, pid)]
    return any(call is None or call.name in _WAITS for call in calls) and not _hidden(inquiry, pid)


def _is_short(inquiry: Inquiry, pid: int, tid: int, call: Syscall) -> bool:
    """Whether a sleep has a time limit of some seconds; yes where its arguments may not be read."""
    limit = _limit(inquiry, pid, tid, call)
    if limit is None:  # select, poll and futex wait for ever; a sleep has a limit that is hidden from us
        return call.name in ("nanosleep", "clock_nanosleep")
    return limit <= LONGEST


def _limit(inquiry: Inquiry, pid: int, tid: int, call: Syscall) -> float | None:
    """Seconds that a sleep may last; None: without end, or it may not be read."""
    thread = Thread(pid=pid, tid=tid, name="", state="S", syscall=call)
    about = asked.collect(inquiry.host, thread, inquiry.clock)
    return None if about is None else about.limit if about.left is None else about.left


def _ran_lately(inquiry: Inquiry, pid: int, tid: str) -> bool:
    """Whether a thread ran a moment ago; yes where the kernel does not tell."""
    try:
        text = inquiry.host.read(f"/proc/{pid}/task/{tid}/sched", 4096).decode("ascii", "replace")
    except OSError:
        return True
    ran = threads.parse_last_ran(text)
    return ran is None or inquiry.clock.scheduler - ran < LONGEST


def _hidden(inquiry: Inquiry, pid: int) -> bool:
    """Whether it can not be told what a process does; one that has ended denies it to its own user too."""
    try:
        inquiry.host.read(f"/proc/{pid}/syscall", 1)
    except PermissionError:
        process = inquiry.process(pid)
        return (
            process is not None
            and process.state not in "ZX"
            and any(_ran_lately(inquiry, pid, tid) for tid in _tids(inquiry, pid))
        )
    except OSError:
        return False
    return False


def _tids(inquiry: Inquiry, pid: int) -> Sequence[str]:
    try:
        return inquiry.host.names(f"/proc/{pid}/task")
    except OSError:
        return ()


def gaps(inquiry: Inquiry, graph: LockGraph, found: Suspects) -> Iterator[Gap]:
    """Say who could not be looked at, if anybody could be kept waiting at all."""
    root = inquiry.host.info.uid == 0
    closed = tuple(pid for pid in found.loops if _is_closed(inquiry, pid))
    for pids, reason, hint in (
        (closed, "their memory, where their tasks are, can not be read", "diag doctor says why"),
        (found.unseen, "permission denied", "run diag with CAP_SYS_PTRACE" if root else "run diag as root"),
        (found.left, "too many of them", "ask for one of them: diag stacks PID"),
    ):
        if pids and (gap := _gap(inquiry, graph, pids, reason, hint)):
            yield gap


def _is_closed(inquiry: Inquiry, pid: int) -> bool:
    looked = inquiry.suspended.get(pid)
    return looked is not None and not looked.read


def _gap(inquiry: Inquiry, graph: LockGraph, pids: Sequence[int], reason: str, hint: str) -> Gap | None:
    """Say who may poll unseen; it blinds the rules only where they have to do with the lock.

    Those are the processes of the users who hold the lock or own its file. On most hosts there are Python
    processes of others, which a reader without privileges can not look into, and need not.
    """
    held = [hold.holder.pid for hold in graph.all_holds()]
    if not held and not graph.waits:
        return None  # nobody holds it: nobody can be kept waiting
    users = {process.uid for pid in held if (process := inquiry.process(pid))}
    for target in graph.targets:
        try:
            users.add(inquiry.host.status(target.path).uid)
        except OSError:
            continue
    near = [pid for pid in pids if (process := inquiry.process(pid)) and process.uid in users]
    some = ", ".join(map(str, (near or pids)[:5])) + (" …" if len(near or pids) > 5 else "")
    return Gap(
        source="/proc/PID/syscall and py-spy",
        hides=f"whether {len(pids)} Python processes poll for the lock ({some})",
        reason=reason,
        hint=hint,
        blinds=POLLER_RULES if near else frozenset(),
    )
