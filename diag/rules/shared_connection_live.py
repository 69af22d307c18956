"""The part of C001 before any crash: threads that use one connection of a database client at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Evidence
from diag.model.finding import Confidence, Finding, Severity
from diag.model.graph import Actor, Resource
from diag.rules.database_clients import client_of_file, client_of_type, handle_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.model.facts import Frame, Stack
    from diag.model.snapshot import SeenThread, Snapshot
    from diag.rules.database_clients import Client

CODE = "C001"
SLUG = "shared-connection"

_INSIDE = frozenset({"socket", "gil", "cpu", "pipe", "database-lock"})
"""What a thread at work in a client waits for. One that waits for a lock may be kept out, as it should."""
_LOCKS = frozenset({"futex", "thread-lock", "native-lock"})
_FUTEX_WAIT, _CONTENDED = 0, 2
"""How a thread waits for a contended pthread mutex (glibc, lll_lock_wait); Python's own locks are no such."""
_MAY_SHARE = {"connection": 2, "cursor": 3}  # PEP 249 threadsafety from which threads may


class Use(NamedTuple):
    """One thread at work with one connection or cursor."""

    client: Client
    kind: str
    type_name: str
    address: int
    frame: Frame  # of the client, or the one that called its C code
    seen: SeenThread


def check(snapshot: Snapshot) -> Iterator[Finding]:
    """Threads use one connection of a client library at the same time, which that library does not allow."""
    for shared in _shared(snapshot.threads).values():
        yield _finding(shared)


def suspects(snapshot: Snapshot) -> tuple[int, ...]:
    """Return the processes worth a second look: one that shows the same makes it certain."""
    return tuple(dict.fromkeys(pid for pid, _ in _shared(snapshot.threads)))


def _shared(threads: Iterable[SeenThread]) -> dict[tuple[int, int], list[Use]]:
    """Group by process and object; connections before cursors, each group of threads only once."""
    groups: dict[tuple[int, int], list[Use]] = {}
    for seen in threads:
        if seen.stack is None or seen.wait is None or seen.wait.resource.kind not in _INSIDE | _LOCKS:
            continue
        for use in uses(seen.stack, seen):
            if _at_work(use) or _in_the_way(use):
                groups.setdefault((seen.process.pid, use.address), []).append(use)
    found: dict[tuple[int, int], list[Use]] = {}
    told: set[frozenset[tuple[int, int]]] = set()
    for key, group in sorted(groups.items(), key=lambda item: (item[1][0].kind, item[0])):
        who = frozenset((use.seen.process.pid, use.seen.thread.tid) for use in group)
        if len(who) > 1 and any(map(_at_work, group)) and not any(who <= earlier for earlier in told):
            told.add(who)
            found[key] = group
    return found


def _at_work(use: Use) -> bool:
    return use.seen.wait is not None and use.seen.wait.resource.kind in _INSIDE


def _in_the_way(use: Use) -> bool:
    """Whether a thread that waits for a lock uses the object all the same.

    A client without locks of its own is in the middle of reading what it shares (PyMySQL: the lock is that
    of its buffered socket). One that locks its connection lets the second in with the cursor of the first.
    """
    frames = use.seen.stack.frames if use.seen.stack else ()
    one_by_one = use.kind == "cursor" and use.client.shares == _MAY_SHARE["connection"]
    if frames and client_of_file(frames[0].file):
        return not use.client.locks or one_by_one
    return one_by_one and _waits_for_mutex(use.seen)


def _waits_for_mutex(seen: SeenThread) -> bool:
    """Whether a thread waits inside C code, not at a lock that its own program takes."""
    call = seen.thread.syscall
    if call is None or call.name != "futex" or len(call.arguments) < 3:
        return False
    return call.arguments[1] & 0x7F == _FUTEX_WAIT and call.arguments[2] == _CONTENDED


def uses(stack: Stack, seen: SeenThread) -> Iterator[Use]:
    """Yield each connection and cursor that a thread is at work with, once.

    It is at work in a client when a frame of the client is on its stack, or when the innermost frame
    holds an object of a client that is all C. Only objects that threads must not share count.
    """
    known: set[int] = set()
    for number, frame in enumerate(stack.frames):
        of_file = client_of_file(frame.file)
        for local in frame.locals:
            type_name = local.type_name
            kind = handle_kind(type_name) if type_name else None
            if type_name is None or kind is None or local.address in known:
                continue
            client = of_file or (client_of_type(type_name) if number == 0 else None)
            if client and client.shares < _MAY_SHARE[kind]:
                known.add(local.address)
                yield Use(client, kind, type_name, local.address, frame, seen)


def _finding(shared: list[Use]) -> Finding:
    first = shared[0]
    process = first.seen.process
    threads = list({use.seen.thread.tid: use.seen for use in shared}.values())
    again = _seen_again(shared)
    what = f"{first.client.name} {first.kind}"
    names = ", ".join(_name(seen) for seen in threads[:4]) + (" …" if len(threads) > 4 else "")
    where = first.seen.wait.where if first.seen.wait else None
    called = f", called at {where}" if where else ""
    resource = Resource(
        kind="db-connection",
        key=f"db-connection:{process.pid}:{first.address:x}",
        name=f"{what} at {first.address:#x} in pid {process.pid}",
    )
    return Finding(
        code=CODE,
        slug=SLUG,
        summary=(
            f"{len(threads)} threads of pid {process.pid} ({process.name}) are inside {first.client.name} "
            f"with the same {first.kind} at the same time ({names}){called}: "
            f"{_HARM if first.client.shares < 2 else _MIXED}"
        ),
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if again else Confidence.LIKELY,
        culprit=Actor(
            pid=process.pid,
            started=process.started,
            process=process.name,
            container_pid=process.container_pid,
            where=where,
        ),
        victims=tuple(_actor(seen) for seen in threads),
        resource=resource,
        evidence=tuple(_evidence(use) for use in shared),
        against=() if again else _AGAINST,
        remedy=_REMEDY,
        check=(
            f"py-spy dump --locals --pid {process.pid}   "
            f"(look for {first.type_name} at {first.address:#x} in several threads)",
        ),
    )


_HARM = "it can crash the process or mix up results at any moment"
_MIXED = "the client lets them in one by one, and each may fetch what the other asked for"
_AGAINST = (
    "only one sample shows it: the connection may have been handed from one thread to the other just then",
)
_REMEDY = (
    "Now: run this job with one thread (celery --concurrency=1, one thread a worker), or let only one thread "
    "query; restart the process before it crashes with the work it holds.",
    "In the code: open a connection per thread (threading.local, or a pool that lends each connection to one "
    "thread at a time), and never hand a connection or cursor to a thread or executor.",
)


def _seen_again(shared: list[Use]) -> bool:
    """Whether another sample shows two of the threads with the same object too."""
    address = shared[0].address
    others: dict[int, set[int]] = {}
    for use in shared:
        for number, stack in enumerate(reversed(use.seen.others)):
            if any(other.address == address for other in uses(stack, use.seen)):
                others.setdefault(number, set()).add(use.seen.thread.tid)
    return any(len(tids) > 1 for tids in others.values())


def _name(seen: SeenThread) -> str:
    return (seen.stack and seen.stack.thread) or f"thread {seen.thread.tid}"


def _actor(seen: SeenThread) -> Actor:
    return seen.wait.waiter if seen.wait else Actor(pid=seen.process.pid, started=0, process="")


def _evidence(use: Use) -> Evidence:
    frame = use.frame
    doing = use.seen.wait.words if use.seen.wait else use.seen.thread.state
    return Evidence(
        source=f"py-spy dump --locals --pid {use.seen.process.pid}, thread {use.seen.thread.tid}",
        text=f"{frame.function} ({frame.file}:{frame.line}): <{use.type_name} at {use.address:#x}>; {doing}",
    )
