"""Whether a thread is trying to get a lock at this moment, and which of its frames asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.source import Sure
from diag.waits.lock_sites.asker import Found, describe, item_at, running_parts
from diag.waits.lock_sites.expressions import locks_inside, with_items
from diag.waits.lock_sites.places import is_stdlib
from diag.waits.lock_sites.polling import (
    Attempt,
    attempts,
    failed_attempt,
    passes_through,
    retries_what_it_is_given,
)
from diag.waits.lock_sites.syntax import inside, line_of, locate, on_line, text_of
from diag.waits.lock_sites.words import calls, names_lock, says_pause, says_take, takes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.model.facts import Frame, Stack
    from diag.model.source import Ask, Source
    from diag.waits.lock_sites.syntax import Position

_REACH = 8
"""Frames between a sleep and the loop that tries again: retry helpers, generators, wrappers."""
_NEAR = 3
"""Frames in which a lock's own method is looked for by its name alone."""

_THREADING = ("/threading.py", "/multiprocessing/synchronize.py")
_NOT_BLOCKING = ("LOCK_NB", "NON_BLOCKING", "F_SETLK,", "blocking=False", "block=False", "timeout=0")


def asking(stack: Stack, sources: Mapping[str, Source], *, blocked: bool = False) -> Ask | None:
    """Tell whether the thread tries to get a lock: asleep in the call that takes it, or polling for it.

    ``blocked``: the kernel says that it sleeps in flock(2) or fcntl(2), so that it asks is certain, and
    only who asked is the question. Otherwise None for a healthy thread: one that paces itself, waits for
    work, or works with a lock it has. ``Ask.how`` is "blocked" where the innermost line takes a lock; but
    only the kernel knows whether it sleeps there.
    """
    frames = stack.frames
    inner = next((n for n, frame in enumerate(frames) if not frame.native), None)
    if inner is None:
        return None
    found = _blocked(frames[inner], inner, sources)
    if found is None and blocked:
        found = _entering(frames[inner], inner, sources)
    if found is None and not blocked:
        found = _polling(frames, inner, sources)
    if found is None and not _is_threading(frames[inner]):
        found = _by_name(frames, inner, blocked=blocked)
    if found is None and blocked:
        found = Found(inner, "blocked", None, "the kernel has it waiting for a lock on a file")
    return describe(frames, inner, found, sources) if found else None


def _blocked(frame: Frame, inner: int, sources: Mapping[str, Source]) -> Found | None:
    """The innermost line itself takes a lock, and would wait for it."""
    source = sources.get(frame.file)
    position = locate(frame, source)
    if position is None or source is None or _is_threading(frame):
        return None
    statement = position.steps[-1].statement
    for part in (part for one in on_line(position, frame.line) for part in running_parts(one)):
        for attempt in attempts(part, source):
            call = next(calls(attempt.node)) if attempt.node is not None else None
            if call is None or not takes(call):
                continue
            if any(mark in call.arguments for mark in _NOT_BLOCKING) or call.arguments in ("0", "False"):
                return None
            return Found(inner, "blocked", attempt, "its innermost line takes the lock")
    if statement.type == "with_statement" and (item := item_at(frame, statement, None)) is not None:
        attempt = Attempt(item, text_of(item), on_file=False)
        return Found(inner, "blocked", attempt, "its innermost line enters the lock")
    return None


def _entering(frame: Frame, inner: int, sources: Mapping[str, Source]) -> Found | None:
    """The line begins a ``with``, its body on the same line or not: who waits for a lock there enters it."""
    position = locate(frame, sources.get(frame.file))
    for step in reversed(position.steps if position else ()):
        statement = step.statement
        if statement.type != "with_statement" or line_of(statement) != frame.line:
            continue
        # Whatever it is called: the kernel says that it is a lock.
        if item := item_at(frame, statement, None) or next(iter([*with_items(statement)][::-1]), None):
            attempt = Attempt(item, text_of(item), on_file=False)
            return Found(inner, "blocked", attempt, "its innermost line enters the lock")
    return None


def _polling(frames: tuple[Frame, ...], inner: int, sources: Mapping[str, Source]) -> Found | None:
    """The thread sleeps, and a frame near the sleep tries for a lock again when it wakes."""
    given = False  # a frame further in tries again whatever it was given
    for n in range(inner, min(inner + _REACH, len(frames))):
        frame = frames[n]
        source = sources.get(frame.file)
        position = locate(frame, source)
        if position is None or source is None:
            if not _is_sleep(frame):
                return None
            continue
        if n == inner and not _sleeps(frame, position):
            return None
        if not _is_threading(frame) and (attempt := failed_attempt(frame, source, position)):
            return Found(n, "polling", attempt, "it sleeps between two tries for the lock")
        if given:
            if attempt := _handed(position, source):
                return Found(n, "polling", attempt, "it sleeps in a helper that tries again what it is given")
            if not any(map(passes_through, running_parts(position.steps[-1].statement))):
                return None
        given = given or retries_what_it_is_given(position)
        if not (given or _is_sleep(frame) or _is_generator(position)):
            return None
    return None


def _handed(position: Position, source: Source) -> Attempt | None:
    """What a retry helper was called with or as: ``retry(self._try_acquire)``, a decorated take_lock()."""
    for part in running_parts(position.steps[-1].statement):
        for attempt in attempts(part, source):
            return attempt._replace(sure=Sure.SOURCE if attempt.on_file else Sure.PATTERN)
        for call in calls(part):
            arguments = call.node.child_by_field_name("arguments")
            for argument in arguments.named_children if arguments else ():
                owner, _, name = text_of(argument).rpartition(".")
                if argument.type in ("identifier", "attribute") and says_take(name):
                    return Attempt(argument, owner, locks_inside(name, source))
    return None


def _by_name(frames: tuple[Frame, ...], inner: int, *, blocked: bool) -> Found | None:
    """Without its source, or where it calls what cannot be followed: a method named acquire of a ...Lock."""
    for n in range(inner, min(inner + _NEAR, len(frames))):
        frame = frames[n]
        own = next((local.type_name for local in frame.locals[:2] if local.name == "self"), None)
        if says_take(frame.function.rpartition(".")[2]) and names_lock(
            own or frame.function.rpartition(".")[0]
        ):
            how = "blocked" if blocked else "polling"
            return Found(n, how, None, f"it is in {frame.function}, by its name")
    return None


def _sleeps(frame: Frame, position: Position) -> bool:
    """Whether the frame's line calls something that lets time pass."""
    if _is_sleep(frame):
        return True
    parts = running_parts(position.steps[-1].statement)
    return any(says_pause(call.name) for part in parts for call in calls(part))


def _is_sleep(frame: Frame) -> bool:
    return says_pause(frame.function.rpartition(".")[2])


def _is_generator(position: Position) -> bool:
    """Whether the function hands out turns: ``for turn in every(0.1, until=deadline)``."""
    return any(node.type == "yield" for node in inside(position.scope))


def _is_threading(frame: Frame) -> bool:
    """Whether it waits for a notification: threading does so with locks of its own that nobody asked for."""
    inside_wait = "acquire" not in frame.function and "enter" not in frame.function
    return is_stdlib(frame.file) and frame.file.endswith(_THREADING) and inside_wait
