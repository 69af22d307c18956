"""Which locks the frames of a thread hold where they stand, by the source of their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.waits.lock_sites.held import each_taken, enclosing
from diag.waits.lock_sites.named import own_type
from diag.waits.lock_sites.syntax import locate
from diag.waits.lock_sites.words import calls, frees, lock_of, takes
from diag.waits.python_locks.names import Name, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.model.facts import Frame, Stack
    from diag.model.source import Site, Source

_CONDITIONS = ("Condition", "_Condition")  # the second in 2.7


class Held(NamedTuple):
    """One statement that holds something at the line its frame stands on."""

    frame: int  # index in the stack
    site: Site
    name: Name | None  # None: an expression that names nothing that lasts


def held_by(stack: Stack, sources: Mapping[str, Source]) -> tuple[Held, ...]:
    """List what a thread holds, the innermost frame and statement first.

    Every ``with`` counts, whatever its expression is called: it is compared by object, not by words.
    What Condition.wait() has released for the time of the wait is left out.
    """
    waits = _waiting_condition(stack.frames)
    found = [
        Held(n, site, name)
        for n, frame in enumerate(stack.frames)
        if not frame.native
        for site, name in _named(frame, sources.get(frame.file), stack.frames[n - 1] if n else None)
    ]
    if waits is None:
        return tuple(found)
    released = _released(found, stack.frames, waits)
    return tuple(held for held in found if held is not released)


def freed_by(stack: Stack, sources: Mapping[str, Source]) -> frozenset[str]:
    """Name, by their last word, the locks that a thread's functions release but do not take.

    A plain lock may be taken by one thread and released by another: then it is a signal.
    """
    found: set[str] = set()
    for frame in stack.frames:
        position = None if frame.native else locate(frame, sources.get(frame.file))
        if position is not None:
            made = list(calls(position.scope))
            taken = {last_word(lock_of(call)) for call in made if takes(call)}
            found |= {last_word(lock_of(call)) for call in made if frees(call)} - taken
    return frozenset(found)


def last_word(expression: str) -> str:
    """The name that the object has where it is used: ``gate`` of ``self.gate``."""
    return expression.rpartition(".")[2]


def _named(frame: Frame, source: Source | None, callee: Frame | None) -> Iterator[tuple[Site, Name | None]]:
    """Yield the sites of one frame, the innermost first, with what their locks are known by.

    What memory says was entered goes before the expression in the source, which may be ``locks[key]``.
    """
    sites = enclosing(frame, source, callee)
    entered = iter(frame.entered)
    found = []
    for site in sites:
        own = next(entered, None) if site.how == "with" else None
        if own and site.address not in (None, own):  # another with has left it there: none is to be trusted
            entered, own = iter(()), None
        found.append((site, ("object", own, "") if own else name_of(frame, site.target)))
    yield from reversed(found)
    yield from ((site, name_of(frame, site.target)) for site in each_taken(frame, source))


def is_threading(frame: Frame) -> bool:
    """Whether a frame runs the standard library's own locks."""
    return frame.file.endswith("/threading.py")


def _waiting_condition(frames: tuple[Frame, ...]) -> int | None:
    """The index of the frame that runs Condition.wait, where the thread sleeps in one."""
    for n, frame in enumerate(frames):
        if frame.native:
            continue
        if not is_threading(frame):
            return None
        if frame.function.rpartition(".")[2] == "wait" and own_type(frame) in _CONDITIONS:
            return n
    return None


def _released(found: list[Held], frames: tuple[Frame, ...], wait: int) -> Held | None:
    """What the wait gave back: the statement on its condition, else the innermost one around it."""
    condition = next(local.address for local in frames[wait].locals if local.name == "self")
    outside = [held for held in found if held.frame > wait]
    named = (held for held in outside if held.name == ("object", condition, ""))
    return next(named, next(iter(outside), None))
