"""Which frame asked for a lock: from the frame that tries outwards, past the lock's own code."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Where
from diag.model.source import Ask, Sure
from diag.waits.lock_sites.expressions import resolve, speaks_of_lock, with_items
from diag.waits.lock_sites.named import addresses_in, fds_in, files_in, own_type, paths_in
from diag.waits.lock_sites.places import is_own, is_stdlib, lock_module, package
from diag.waits.lock_sites.reentry import interrupts
from diag.waits.lock_sites.syntax import line_of, locate, on_line, text_of
from diag.waits.lock_sites.words import calls, is_lock_method, is_lock_word, lock_of, names_lock, split, takes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tree_sitter import Node

    from diag.model.facts import Frame
    from diag.model.source import Source
    from diag.waits.lock_sites.polling import Attempt
    from diag.waits.lock_sites.syntax import Position

_ENTERS = ("__enter__", "__aenter__")
_FILE_WORDS = frozenset({"file", "path", "filename", "process", "pid", "inter", "fcntl"})


class Found(NamedTuple):
    """The frame that tries, and how it was recognised."""

    frame: int
    how: str
    attempt: Attempt | None  # None: the source does not show it
    why: str


def describe(frames: tuple[Frame, ...], inner: int, found: Found, sources: Mapping[str, Source]) -> Ask:
    """Tell who asked, with what words, and what the frames name in memory."""
    asker = _past_makers(frames, _climb(frames, found.frame), sources)
    frame, source = frames[asker], sources.get(frames[asker].file)
    expression, target = _asked_at(frames, asker, found, source)
    local, _ = resolve(frame, target)
    tries = found.attempt.node if found.attempt and asker == found.frame else None
    sure = found.attempt.sure if found.attempt else Sure.PATTERN
    seen = frames[inner : asker + 1]
    return Ask(
        inner=inner,
        asker=asker,
        where=Where(function=frame.function, file=frame.file, line=line_of(tries) if tries else frame.line),
        expression=expression,
        how=found.how,
        lock=_kind(found, seen),
        sure=Sure.PATTERN if source is not None and source.changed else sure,
        why=found.why,
        paths=paths_in(seen),
        fds=fds_in(seen),
        addresses=addresses_in(frames[inner:asker]) + ((local.address,) if local else ()),
        target=target,
    )


def origin(
    frames: tuple[Frame, ...], taken: int, sources: Mapping[str, Source]
) -> tuple[int, str, str] | None:
    """Find who used the lock whose own method frame ``taken`` is: index, expression, lock; else None."""
    asker = _climb(frames, taken)
    if asker == taken:
        return None
    found = Found(taken, "", None, "")
    return asker, *_asked_at(frames, asker, found, sources.get(frames[asker].file))


def running_parts(statement: Node) -> list[Node]:
    """The parts of a statement that run on its own line: a compound one's header, or all of it."""
    if statement.type.endswith("_definition"):
        return []
    parts = [child for child in statement.named_children if child.type not in ("block", "comment")]
    return [part for part in parts if not part.type.endswith("_clause") or part.type == "with_clause"]


def item_at(frame: Frame, statement: Node, callee: Frame | None) -> Node | None:
    """The with item that is being entered: that of the callee's type, or the last that speaks of a lock."""
    row = frame.line - 1
    items = list(with_items(statement))
    items = [item for item in items if item.start_point.row <= row <= item.end_point.row] or items
    own = own_type(callee) if callee else None
    for item in items:
        if own and own in text_of(item).partition("(")[0]:
            return item
    speaking = [item for item in items if speaks_of_lock(text_of(item))]
    return speaking[-1] if speaking else (items[-1] if items and callee else None)


def _climb(frames: tuple[Frame, ...], start: int) -> int:
    """Go out from the frame that tries to the one that asked, past the lock's own methods and wrappers."""
    home = package(frames[start].file)
    n = start
    while n + 1 < len(frames) and _is_machinery(frames, n, home):
        n += 1
    return n


def _past_makers(frames: tuple[Frame, ...], asker: int, sources: Mapping[str, Source]) -> int:
    """Go on to who enters what a function returns with its lock taken: ``with locked(path):``."""
    while asker + 1 < len(frames) and _makes_item(frames[asker], frames[asker + 1], sources):
        asker += 1
    return asker


def _makes_item(maker: Frame, outer: Frame, sources: Mapping[str, Source]) -> bool:
    position = locate(outer, sources.get(outer.file))
    if position is None or interrupts(maker):
        return False
    name = maker.function.rpartition(".")[2]
    return any(
        call.name == name
        for statement in on_line(position, outer.line)
        for item in with_items(statement)
        if item.start_point.row <= outer.line - 1 <= item.end_point.row
        for call in calls(item)
    )


def _is_machinery(frames: tuple[Frame, ...], n: int, home: str | None) -> bool:
    """Whether a frame belongs to the lock, or to what leads to it, and not to its user."""
    frame = frames[n]
    name = frame.function.rpartition(".")[2]
    if name == "<module>" or interrupts(frame):
        return False
    if name in _ENTERS or is_lock_method(name) or frame.native or _is_entered(frames, n):
        return True
    if home is not None and package(frame.file) == home:
        return True
    if is_stdlib(frame.file):  # contextlib, logging: some frame further out made them do it
        return any(not is_stdlib(outer.file) for outer in frames[n + 1 :])
    if not lock_module(frame.file):
        return False
    # A file called lock something is the lock's own, unless it is also the program that uses it.
    outside = frames[n + 1 :]
    if any(outer.file == frame.file and outer.function == "<module>" for outer in outside):
        return False
    return any(is_own(outer.file) and outer.file != frame.file for outer in outside)


def _is_entered(frames: tuple[Frame, ...], n: int) -> bool:
    """Whether a ``with`` runs a frame, through code of its own file alone: it is part of what is entered.

    So does a generator below ``contextlib.contextmanager``, or a helper of a class's own ``__enter__``.
    """
    for frame, outer in pairwise(frames[n:]):
        if frame.file != frames[n].file or frame.function == "<module>" or interrupts(frame):
            return False
        if outer.function.rpartition(".")[2] in _ENTERS:
            return True
    return False


def _asked_at(frames: tuple[Frame, ...], asker: int, found: Found, source: Source | None) -> tuple[str, str]:
    """The expression on the asker's line that asks, and the lock that it names."""
    if found.attempt is not None and asker == found.frame:
        return text_of(found.attempt.node), found.attempt.target
    position = locate(frames[asker], source)
    if position is None:
        return "", ""
    callee = frames[asker - 1] if asker else None
    node = _asking_node(frames[asker], _statements(frames[asker], position, callee), callee)
    call = next(calls(node), None)
    if call is not None and call.node == node and takes(call):
        return text_of(node), lock_of(call) if call.target else text_of(node)
    return text_of(node), text_of(node)


def _statements(frame: Frame, position: Position, callee: Frame | None) -> list[Node]:
    """The statements at a line; of ``with lock: work()`` on one line the one that enters the callee."""
    found = on_line(position, frame.line)
    called = callee.function.rpartition(".")[2] if callee else ""
    made = [call for one in found for part in running_parts(one) for call in calls(part)]
    if called and (called in _ENTERS or not any(call.name == called or takes(call) for call in made)):
        for step in reversed(position.steps[-2:]):
            if step.statement.type == "with_statement" and line_of(step.statement) == frame.line:
                return [step.statement]
    return found


def _asking_node(frame: Frame, statements: list[Node], callee: Frame | None) -> Node:
    last = statements[-1]
    if last.type == "with_statement" and (item := item_at(frame, last, callee)) is not None:
        return item
    found = [call for one in statements for part in running_parts(one) for call in calls(part)]
    called = callee.function.rpartition(".")[2] if callee else ""
    for call in found:
        if call.name == called or takes(call):
            return call.node
    return found[0].node if found else last


def _kind(found: Found, seen: tuple[Frame, ...]) -> str:
    """file, thread or unknown, by the call itself, the object's type, and what the frames name."""
    if found.attempt is not None and found.attempt.on_file:
        return "file"
    types = [own_type(frame) or "" for frame in seen]
    if any(map(is_file_lock, types)):
        return "file"
    if found.attempt is not None and is_file_lock(found.attempt.target):
        return "file"
    if any(map(_names_lock_file, seen)) or files_in(seen[: found.frame + 1]):
        return "file"
    if any(is_stdlib(frame.file) and frame.file.endswith("/threading.py") for frame in seen):
        return "thread"
    return "unknown"


def is_file_lock(expression: str) -> bool:
    """Whether a type or an expression, its arguments left aside, speaks of a lock on a file."""
    called = expression.partition("(")[0]
    return names_lock(called) and bool(_FILE_WORDS.intersection(split(called)))


def _names_lock_file(frame: Frame) -> bool:
    """Whether a local holds a path and is called lock something or file something."""
    return any(
        local.value.startswith('"/')
        and any(is_lock_word(word) or word in _FILE_WORDS for word in split(local.name))
        for local in frame.locals
    )
