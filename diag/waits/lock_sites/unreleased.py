"""Where a lock may have been taken and never given back: by an exception or a return in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Where
from diag.waits.lock_sites.syntax import blocks, inside, line_of, parse, text_of
from diag.waits.lock_sites.words import calls, frees, lock_of, says_free, takes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tree_sitter import Node

    from diag.model.source import Source
    from diag.waits.lock_sites.words import Call

_NODES = 200_000
"""Nodes of a file that is searched for all uses of one lock."""
_MOST_SHOWN = 3
_FILE_CALLS = frozenset({"flock", "lockf", "fcntl"})
_SUSPENDS = frozenset({"yield", "await"})


class Releases(NamedTuple):
    """How a lock that is taken comes to be released, by the source of one file."""

    leaks: tuple[Where, ...] = ()  # lines that take it, where its release can be passed over
    handed_over: bool = False  # one function releases what another has taken: the lock is a signal


class _Uses(NamedTuple):
    """What one function does with the lock by calls; ``with`` always gives back."""

    scope: Node
    taken: tuple[Call, ...]
    freed: tuple[Call, ...]


def releases(source: Source, lock: str, line: int, *, tasks: bool = False) -> Releases:
    """Tell how ``lock`` (an expression) is released for which a frame waits at ``line``.

    Without leaks where the file does not tell: a function takes the lock and keeps it, or may be suspended
    while it has it, so that no stack shows it (``tasks``: the stacks of tasks are known).
    """
    root = None if source.changed else parse(source.text)
    if root is None or root.descendant_count > _NODES:
        return Releases()
    name = lock.rpartition(".")[2]
    every = tuple(_by_function(root, name))
    if any(uses.freed and not uses.taken for uses in every) or _is_passed_on(root, name):
        return Releases(handed_over=True)
    if any(not uses.freed or _may_be_suspended(uses.scope, tasks=tasks) for uses in every):
        return Releases()
    return Releases(
        tuple(
            Where(function=_name(uses.scope), file=source.file, line=line_of(call.node))
            for uses in every
            for call in uses.taken
            if not _is_protected(call, uses) and not _is_another(call, lock, _class_at(root, line))
        )
    )


def unguarded(places: Sequence[Where]) -> str:
    """Write down where a lock may have been taken last."""
    shown = ", ".join(map(str, places[:_MOST_SHOWN]))
    more = f" and {len(places) - _MOST_SHOWN} more" if len(places) > _MOST_SHOWN else ""
    return f"taken without a finally at {shown}{more}"


def _by_function(root: Node, name: str) -> Iterator[_Uses]:
    for scope in _scopes(root):
        mine = [call for call in calls(_body(scope)) if _is_on(call, name)]
        taken = tuple(call for call in mine if takes(call))
        freed = tuple(call for call in mine if frees(call))
        if taken or freed:
            yield _Uses(scope, taken, freed)


def _class_at(root: Node, line: int) -> Node | None:
    """The innermost class around a line."""
    found, node = None, root.descendant_for_point_range((line - 1, 0), (line - 1, 10_000))
    while node is not None and found is None:
        found = node if node.type == "class_definition" else None
        node = node.parent
    return found


def _is_another(call: Call, lock: str, own: Node | None) -> bool:
    """Whether a call is on ``self.lock`` of another class than the one that waits for its ``self.lock``."""
    if own is None or not lock.startswith("self.") or not lock_of(call).startswith("self."):
        return False
    return not own.start_byte <= call.node.start_byte < own.end_byte


def _is_on(call: Call, name: str) -> bool:
    return call.name not in _FILE_CALLS and lock_of(call).rpartition(".")[2] == name


def _is_passed_on(root: Node, name: str) -> bool:
    """Whether ``lock.release`` itself is given to somebody who will call it."""
    return any(
        says_free(text_of(node.child_by_field_name("attribute")))
        and text_of(node.child_by_field_name("object")).rpartition(".")[2] == name
        and (node.parent is None or node.parent.child_by_field_name("function") != node)
        for scope in _scopes(root)
        for node in inside(_body(scope))
        if node.type == "attribute"
    )


def _scopes(root: Node) -> Iterator[Node]:
    """Yield the module and every function in it, however deep, in order of the text."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is root or node.type in ("function_definition", "lambda"):
            yield node
        waiting.extend(reversed(node.named_children))


def _body(scope: Node) -> Node:
    return scope.child_by_field_name("body") or scope


def _name(scope: Node) -> str:
    named = scope.child_by_field_name("name")
    return text_of(named) if named is not None else "<module>"


def _may_be_suspended(scope: Node, *, tasks: bool) -> bool:
    """Whether a function can stop half-way and be on no thread's stack: a generator, a coroutine."""
    kinds = {node.type for node in inside(_body(scope))} & _SUSPENDS
    return bool(kinds - {"await"} if tasks else kinds)


def _is_protected(call: Call, uses: _Uses) -> bool:
    """Whether a ``finally`` around the call, or begun right behind it, gives back; or the next statement."""
    guards = [node for node in inside(_body(uses.scope)) if _gives_back(node, uses)]
    start, end = call.node.start_byte, call.node.end_byte
    if any(guard.start_byte < start and end <= guard.end_byte for guard in guards):
        return True
    statements = (node for node in inside(_body(uses.scope)) if node.type.endswith("_statement"))
    after = min((node for node in statements if node.start_byte >= end), key=_start, default=None)
    return after is not None and (
        after.start_byte in {guard.start_byte for guard in guards}
        or any(after.start_byte == freed.node.start_byte for freed in uses.freed)
    )


def _start(node: Node) -> int:
    return node.start_byte


def _gives_back(node: Node, uses: _Uses) -> bool:
    if node.type != "try_statement":
        return False
    ends = [block for owner, block in blocks(node) if owner.type == "finally_clause"]
    return any(
        block.start_byte <= call.node.start_byte < block.end_byte for block in ends for call in uses.freed
    )
