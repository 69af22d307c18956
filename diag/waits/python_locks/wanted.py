"""What a thread of a Python program waits for inside its own process, by its innermost frames."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.model.facts import Where
from diag.waits.lock_sites import asking
from diag.waits.lock_sites.named import own_type
from diag.waits.lock_sites.places import is_stdlib
from diag.waits.lock_sites.words import says_take
from diag.waits.python_locks.names import Name, is_plain, name_of
from diag.waits.scene import is_library

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.facts import Frame, Stack
    from diag.model.source import Ask, Source


class Primitive(str, Enum):
    """What kind of object is waited for."""

    LOCK = "lock"  # Lock, RLock, or what is entered through one
    CONDITION = "condition"
    EVENT = "event"
    SEMAPHORE = "semaphore"
    BARRIER = "barrier"
    QUEUE = "queue"  # to get from it
    FULL_QUEUE = "full queue"  # to put into it
    QUEUE_JOIN = "unfinished queue"  # for all its work to be done
    THREAD = "thread"  # to end
    FUTURE = "future"
    FUTURES = "futures"  # some or all of several
    RESULT = "result"  # of multiprocessing.Pool
    WORK = "work"  # an idle worker of a pool
    CALL = "call"  # a function in C that waits by itself: SimpleQueue.get, or what memory cannot name


class Wanted(NamedTuple):
    """What one thread waits for."""

    primitive: Primitive
    where: Where  # the user's line
    expression: str  # of a lock: what stands there; of a call: all of it; of futures: "any" will do
    names: frozenset[Name]  # of a lock: what its holder may know it by; of a call: whose method it is
    subject: int | None  # address of the object waited for, where a frame's self names it
    frame: int  # index of the outermost frame that belongs to the waiting itself
    by_with: bool = False  # of a lock: it is entered by a with statement, which releases it again


# Function of the standard library -> what it waits for; by the last part of the file's name. The type of
# self decides where one name serves many (below 3.11 py-spy shows no class).
_THREADING = {
    ("wait", "Condition"): Primitive.CONDITION,
    ("wait_for", "Condition"): Primitive.CONDITION,
    ("wait", "Event"): Primitive.EVENT,
    ("acquire", "Semaphore"): Primitive.SEMAPHORE,
    ("wait", "Barrier"): Primitive.BARRIER,
    ("join", "Thread"): Primitive.THREAD,
    ("_wait_for_tstate_lock", "Thread"): Primitive.THREAD,
}
_BY_FUNCTION = {
    ("queue.py", "get"): Primitive.QUEUE,
    ("queue.py", "put"): Primitive.FULL_QUEUE,
    ("queue.py", "join"): Primitive.QUEUE_JOIN,
    ("_base.py", "result"): Primitive.FUTURE,
    ("_base.py", "exception"): Primitive.FUTURE,
    ("_base.py", "wait"): Primitive.FUTURES,
    ("_base.py", "as_completed"): Primitive.FUTURES,
    ("thread.py", "_worker"): Primitive.WORK,
}
_PENDING = ("not_done", "pending", "fs")
"""Variables of wait() and as_completed() that hold the futures which are not done."""
_ANY = "any"
_LEAVES = (Primitive.CONDITION, Primitive.THREAD, Primitive.WORK)
"""What sleeps itself; the others do so by way of a condition."""
_BASES = {
    "BoundedSemaphore": "Semaphore",
    "_DummyThread": "Thread",
    "Timer": "Thread",
    "_MainThread": "Thread",
}


_METHOD = re.compile(r"([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)\(")


def wanted(stack: Stack, sources: Mapping[str, Source]) -> Wanted | None:
    """Tell what a thread waits for that sleeps in a futex; None without a Python frame."""
    inner = next((n for n, frame in enumerate(stack.frames) if not frame.native), None)
    if inner is None:
        return None
    return _primitive(stack.frames, inner) or _lock(stack, sources)


def _primitive(frames: tuple[Frame, ...], inner: int) -> Wanted | None:
    """Recognise the library's own waiting, outwards: Queue.get calls Condition.wait."""
    found: tuple[Primitive, int] | None = None
    for n in range(inner, len(frames)):
        if not is_stdlib(frames[n].file) or _runs_work(frames[n]):
            break
        primitive = _of(frames[n])
        if primitive is not None and (found or primitive in _LEAVES):
            found = primitive, n
        elif found is None:
            return None  # for the lock inside one: Condition.__enter__, the mutex of Queue.put
    if found is None:
        return None
    primitive, n = found
    own = _PENDING if primitive is Primitive.FUTURES else ("self",)
    known = {local.name: local for local in frames[n].locals}
    subject = next((known[name].address for name in own if name in known), None)
    any_of = "return_when" not in known or "ALL_COMPLETED" not in known["return_when"].value
    expression = _ANY if primitive is Primitive.FUTURES and any_of else ""
    return Wanted(primitive, _user_line(frames, n), expression, frozenset(), subject, n)


def _runs_work(frame: Frame) -> bool:
    """Whether a worker of an executor does a piece of work in it: what waits inside is the work."""
    return frame.file.endswith("/concurrent/futures/thread.py") and frame.function.rpartition(".")[2] == "run"


def _of(frame: Frame) -> Primitive | None:
    file, name = frame.file.rpartition("/")[2].lower(), frame.function.rpartition(".")[2]
    if file == "threading.py":
        kind = (own_type(frame) or frame.function.rpartition(".")[0]).lstrip("_")
        by_name = _THREADING.get((name, _BASES.get(kind, kind)))
        # A subclass of Thread has any name.
        return by_name or (Primitive.THREAD if name in ("join", "_wait_for_tstate_lock") else None)
    if file in ("_base.py", "thread.py") and "/concurrent/futures/" not in frame.file:
        return None
    if "/multiprocessing/" in frame.file:
        return Primitive.WORK if (file, name) == ("queues.py", "_feed") else _of_pool(frame, file, name)
    return _BY_FUNCTION.get((file, name))


def _of_pool(frame: Frame, file: str, name: str) -> Primitive | None:
    if file != "pool.py":
        return None
    if name in ("get", "wait", "next"):
        return Primitive.RESULT
    if name == "worker":  # a thread of a ThreadPool; in C functions its work has no frame of its own
        job = next((local.value for local in frame.locals if local.name == "job"), "None")
        return Primitive.WORK if job == "None" else None
    return Primitive.WORK if name in ("_handle_tasks", "_handle_results", "_handle_workers") else None


def _user_line(frames: tuple[Frame, ...], start: int) -> Where:
    frame = next((frame for frame in frames[start:] if not is_library(frame)), frames[start])
    return Where(function=frame.function, file=frame.file, line=frame.line)


def _lock(stack: Stack, sources: Mapping[str, Source]) -> Wanted | None:
    """A lock: by the expression at the line that asks, and by the objects whose methods are asking."""
    ask = asking(stack, sources, blocked=True)
    if ask is None:
        return None
    names: set[Name] = {("object", address, "") for address in ask.addresses}
    # What the innermost frame calls it, and what the user's line does: "self.lock" in Handler.acquire.
    alone = replace(stack, frames=stack.frames[: ask.inner + 1])
    first = asking(alone, sources, blocked=True)
    for frame, expression in (
        (stack.frames[ask.asker], ask.target),
        (stack.frames[ask.inner], first.target if first else ""),
    ):
        if name := name_of(frame, expression):
            names.add(name)
    expression = _in_words(stack, ask, first.target if first else "")
    by_with = _is_with(stack.frames[ask.asker], sources) or _is_with(stack.frames[ask.inner], sources)
    call = _METHOD.match(first.expression) if first and not by_with else None
    if call and first and call[2] != "__enter__" and not says_take(call[2]):
        own = name_of(stack.frames[ask.inner], call[1])
        known = frozenset([own] if own else [])
        return Wanted(Primitive.CALL, ask.where, first.expression, known, None, ask.inner)
    return Wanted(Primitive.LOCK, ask.where, expression, frozenset(names), None, ask.asker, by_with)


def _is_with(frame: Frame, sources: Mapping[str, Source]) -> bool:
    source = sources.get(frame.file)
    lines = source.text.split(b"\n") if source else []
    return 0 < frame.line <= len(lines) and lines[frame.line - 1].lstrip().startswith(b"with ")


def _in_words(stack: Stack, ask: Ask, inner: str) -> str:
    """What to call the lock: its own expression, or that of the method that was called to take it."""
    if is_plain(ask.target):
        return ask.target
    if is_plain(inner):
        return f"{inner} in {stack.frames[ask.inner].function}"
    return ask.target or ask.expression
