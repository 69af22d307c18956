"""What a group of crashes points to. One function a cause; several may hold for one group."""

from __future__ import annotations

import re
from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING

from diag.model import fault
from diag.model.crash import Role
from diag.model.facts import Evidence
from diag.model.finding import Library
from diag.model.graph import Actor
from diag.rules import crash_victims, known, python_dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diag.model.crash import CrashEvent, CrashGroup

SHOWN = 4
"""Raw lines of one group that a finding carries: the first ones and the last."""

# C client libraries that allow one thread at a time per connection, and the Python extensions that
# link them statically. Matched against the file the kernel names, whatever its version.
CLIENTS = re.compile(
    r"(?:libmysqlclient|libmariadb(?:client)?|libperconaserverclient)(?:_r)?[.-]|"
    r"_mysql(?:_connector)?(?:\.|$)|_mariadb\."
)
# The client's own functions, for programs that hold it themselves. The server has some of them, too.
_CLIENT_FUNCTIONS = re.compile(r"(?:mysql|mariadb|mthd_my|ma_net|ma_pvio)_\w+")
_SERVERS = re.compile(r"mysqld|mariadbd")
_MACHINE = {  # x86 traps that an instruction itself causes
    "trap divide error", "trap int3", "trap invalid opcode", "trap bounds", "trap overflow",
    "trap stack segment", "trap segment not present", "trap alignment check",
}  # fmt: skip
_UNLIKELY = 10
"""Faults that fall on one of two cores by chance once in five hundred times, of more cores never."""
_REFERENCES = re.compile(
    r"GC object already (?:tracked|in linked list)|deallocating (?:None|True|False)|negative ref ?count|"
    r"refcount is too small|refcount error|[Ii]nterned string (?:state|died)|"
    r"_PyObject_AssertFailed|_Py_NegativeRefcount|object at 0x[0-9a-f]+ is freed"
)
_HEAP = re.compile(
    r"^(?:\w*free|\w*alloc\w*|munmap_chunk|malloc_consolidate|tcache_\w+)\(\): |"
    r"^double free or corruption|^corrupted (?:size|double-linked)|"
    r"^malloc assertion failure|^malloc\.c:\d"
)


def faulted(group: CrashGroup) -> bool:
    """Whether the kernel itself told of a fault."""
    return group.sample.role is Role.CRASH and group.kind != "oom"


def shared_connection(group: CrashGroup) -> bool:
    """A fault in the code of a database client that allows one thread a connection."""
    if group.sample.role is Role.REPORT:
        library = group.library or str(group.sample.detail("called_by") or "")
        return python_dumps.in_client(group) is not None or bool(CLIENTS.match(library))
    if not faulted(group) or not group.library:
        return False
    if CLIENTS.match(group.library):
        return True
    named = any(map(_CLIENT_FUNCTIONS.fullmatch, crash_victims.names(group)))
    return named and not _SERVERS.match(group.library)


def refcounts(group: CrashGroup) -> bool:
    """The interpreter met an object whose references were counted wrongly."""
    return crash_victims.in_collector(group) or any(
        _REFERENCES.search(event.text)
        for event in (*group.events, *group.reports)
        if event.role is Role.REPORT and event.kind == "app"
    )


def stack_overflow(group: CrashGroup) -> bool:
    """The fault lies just past the end of the stack."""
    return faulted(group) and all(map(fault.stack_overflow, group.events))


def bad_jump(group: CrashGroup) -> bool:
    """The instruction pointer itself was bad."""
    if group.sample.detail("nowhere"):
        return True
    return faulted(group) and (
        group.sample.jumped or fault.access(group.sample) == "execute" or wild_target(group) is not None
    )


def null(group: CrashGroup) -> bool:
    """A read or write near address 0, or through a register that was NULL."""
    return (
        faulted(group)
        and not bad_jump(group)
        and (group.sample.null_offset is not None or through_null(group))
    )


def through_null(group: CrashGroup) -> bool:
    """Whether the instruction itself shows that a pointer was NULL."""
    return bool(group.code and group.code.instruction and group.code.instruction.null)


def wild_target(group: CrashGroup) -> str | None:
    """Tell how it was to go to an address that no program can have: ``returned``, ``called``; else None.

    The processor faults before it jumps there: at the instruction, with a general protection fault.
    """
    instruction = group.code.instruction if group.code else None
    if instruction is None or not (group.sample.trap or "").startswith("general protection"):
        return None
    if instruction.mnemonic == "ret":
        return "returned"
    return "called" if instruction.mnemonic in {"call", "jmp"} and not instruction.operands else None


def heap(group: CrashGroup) -> bool:
    """The allocator found its own data destroyed, or crashed on it."""
    return crash_victims.in_allocator(group) or any(
        _HEAP.search(str(event.detail("file" if event.form == "other" else "error_text") or ""))
        for event in (*group.events, *group.reports)
        if event.role is Role.REPORT and event.form in {"glibc", "other"}
    )


def fork_unsafe(group: CrashGroup) -> bool:
    """A library that does not survive a fork crashed in a forked worker."""
    return any(entry.forked for entry in known.of(group))


def out_of_memory(group: CrashGroup) -> bool:
    """The kernel killed it for memory."""
    return group.kind == "oom"


def bad_instruction(group: CrashGroup) -> bool:
    """The processor refused the instruction itself."""
    sample = group.sample
    if faulted(group):
        return sample.trap in _MACHINE or fault.signal(sample) in {4, 7, 8}
    return fault.signal(sample) in {4, 7, 8}


def limited(group: CrashGroup) -> bool:
    """Its supervisor killed it, and said why."""
    return bool(group.limits)


def forbidden(group: CrashGroup) -> bool:
    """It made a system call that a seccomp filter forbids."""
    return fault.signal(group.sample) == 31


CAUSES = (
    shared_connection, refcounts, stack_overflow, bad_jump, null, heap, fork_unsafe, out_of_memory,
    bad_instruction, limited, forbidden,
)  # fmt: skip


def together(
    groups: Iterable[CrashGroup], key: Callable[[CrashGroup], object]
) -> list[tuple[CrashGroup, ...]]:
    """Join groups that are faces of one cause, the most frequent first."""
    joined: dict[object, list[CrashGroup]] = {}
    for group in groups:
        joined.setdefault(key(group), []).append(group)
    return [tuple(sorted(faces, key=lambda group: -group.count)) for faces in joined.values()]


def sharers(groups: Iterable[CrashGroup]) -> frozenset[str]:
    """Name the programs that crash in a database client: their other crashes may be the same fault.

    What two threads damage through a shared connection shows anywhere, most often in the allocator.
    """
    return frozenset(group.program for group in groups if group.program and shared_connection(group))


def elsewhere(faces: tuple[CrashGroup, ...]) -> str:
    """Count the other places of one cause: ``, and 12 times at 3 other places``."""
    others = faces[1:]
    if not others:
        return ""
    count = sum(group.count for group in others)
    often = "once" if count == 1 else f"{count} times"
    places = "another place" if len(others) == 1 else f"{len(others)} other places"
    return f", and {often} at {places} of it"


def program(group: CrashGroup) -> str:
    """Name who crashed."""
    if group.program:
        return group.program
    sample = group.sample
    if sample.form == "python-fatal":
        return "a Python process"
    if sample.form.startswith("uwsgi"):
        return "a uWSGI worker"
    if (path := sample.detail("exe")) and sample.form == "glibc":
        return str(path).rpartition("/")[2]
    told = sample.detail("unit") or sample.detail("worker") or sample.detail("exe")
    return str(told) if told else f"a process ({sample.form})"


def times(group: CrashGroup) -> str:
    """Say how often, on what rhythm and in which task: ``7 times, hourly at minute 0, in task a.b``."""
    often = "once" if group.count == 1 else f"{group.count} times"
    rhythm = (f", {group.period}" if group.period else "") + in_task(group)
    if group.began is None or group.first is None:
        return f"{often}{rhythm}"
    minutes = max(1, round((group.first - group.began.time) / 60))
    return f"{often}{rhythm}, first {minutes} min after {group.began.what}"


def in_task(group: CrashGroup) -> str:
    """Name the task that was lost most often, where celery tells: ``, in task a.b (7 of 9)``."""
    told = Counter(task for event in (*group.events, *group.reports) if (task := event.detail("task")))
    if not told:
        return ""
    ((task, count),) = told.most_common(1)
    return f", in task {task}" + (f" ({count} of {told.total()})" if count < told.total() else "")


def python_at(group: CrashGroup) -> str:
    """Say what Python code ran, where it could still write it: ``, while Python ran get (db.py:12)``."""
    current = python_dumps.current(group)
    return f", while Python ran {python_dumps.path(current)}" if current else ""


def in_thread(group: CrashGroup) -> str:
    """Say in which thread, where it can be told: ``, not in the main thread``."""
    told = {fault.thread(event) for event in group.events}
    if told == {"other"}:
        return ", not in the main thread"
    return ", in the main thread" if told == {"main"} else ""


def evidence(group: CrashGroup, *others: CrashGroup) -> tuple[Evidence, ...]:
    """Return raw lines: of the kernel first, then what services said; of ``others`` one each."""
    shown = [*few(group.events), *few(group.reports), *(other.sample for other in others[:SHOWN])]
    told = [Evidence(source=str(event.at), text=event.text) for event in shown]
    if group.began:
        told.append(Evidence(source=str(group.began.at), text=group.began.text))
    return (*told, *code(group))


def victims(group: CrashGroup) -> tuple[Actor, ...]:
    """Name the processes that died, where their parents tell: the kernel's number is the thread's."""
    found: dict[int, Actor] = {}
    for event in (*group.events, *group.reports):
        if event.role is Role.REPORT and event.pid is not None:
            worker = event.detail("worker")
            name = event.program or (str(worker) if worker else group.program) or ""
            found.setdefault(event.pid, Actor(pid=event.pid, started=0, process=name))
    return tuple(found.values())


def culprit(group: CrashGroup) -> Library | None:
    """Return the code that faulted, where the line names it; what only met others' damage is none."""
    if not group.library or crash_victims.in_interpreter(group) or crash_victims.in_allocator(group):
        return None
    if crash_victims.notes(group):
        return None
    return Library(library=group.library, symbol=group.symbol, offset=group.offset)


def forged(group: CrashGroup) -> tuple[str, ...]:
    """Say so where a kernel's line was written by somebody else: anybody can write to a log."""
    writers = {event.tag for event in group.events if event.role is Role.CRASH} - {"kernel", None}
    if not writers:
        return ()
    return (f"the line was written by {', '.join(sorted(map(str, writers)))}, not by the kernel",)


def one_core(groups: Iterable[CrashGroup]) -> tuple[str, ...]:
    """Say so where unrelated programs fault on one processor core only: it may be defective."""
    faults = [(group, event.detail("cpu")) for group in groups if faulted(group) for event in group.events]
    told = [(group.program, group.library, cpu) for group, cpu in faults if cpu is not None]
    cores = {cpu for *_, cpu in told}
    places = {(name, library) for name, library, _ in told}
    # Of a machine with one processor all faults are on the first.
    if len(told) < _UNLIKELY or len(cores) > 1 or 0 in cores or len({name for name, _ in places}) < 3:
        return ()
    return (
        f"all {len(told)} faults, of {len({name for name, _ in places})} programs, were on processor "
        f"{cores.pop()}: that core may be defective (keep programs off it with taskset; ask ras-mc-ctl)",
    )


def look_up(group: CrashGroup) -> tuple[str, ...]:
    """Commands that turn the offset into a function."""
    if group.library is None or group.offset is None:
        return ()
    code = group.code
    if code and code.path and code.address is not None:
        return (f"addr2line -Cfipe {quote(code.path)} {code.address:#x}",)
    whole = "" if group.sample.map_offset else "   (add the file offset of the code segment: readelf -lW)"
    return (
        f"addr2line -Cfipe $(find / -xdev -name {quote(group.library)} | head -1) {group.offset:#x}{whole}",
    )


def code(group: CrashGroup) -> tuple[Evidence, ...]:
    """Return what the file that crashed tells of the place: function, line and instruction."""
    place = group.code
    if place is None:
        return ()
    told = []
    if name := fault.function(group):
        proof = "; its bytes are those the kernel printed" if place.proven else ""
        told.append(Evidence(source=str(place.path), text=f"{place.address or 0:#x} is in {name}{proof}"))
    if (there := place.instruction) and there.words:
        told.append(Evidence(source=there.source, text=f"{there.text}: {there.words}"))
    return tuple(told)


def few(events: tuple[CrashEvent, ...]) -> list[CrashEvent]:
    """Return the first events and the last, no more than are shown of one finding."""
    return list(events) if len(events) <= SHOWN else [*events[: SHOWN - 1], events[-1]]
