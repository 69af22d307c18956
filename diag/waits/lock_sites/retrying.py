"""Whether a thread tries for a lock for ever, and keeps what it has meanwhile: a wait without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.waits.lock_sites.asker import running_parts
from diag.waits.lock_sites.polling import LOOPS, attempts, failed_attempt
from diag.waits.lock_sites.syntax import functions, inside, line_of, locate, on_line, parse, text_of, within
from diag.waits.lock_sites.words import calls, frees, lock_of, takes

if TYPE_CHECKING:
    from tree_sitter import Node

    from diag.model.facts import Frame
    from diag.model.source import Source

_EXITS = ("break_statement", "return_statement", "raise_statement")
_ALWAYS = ("True", "1")


def endless_tries(frame: Frame, source: Source | None) -> int | None:
    """Return the first line of the loop in which a frame tries for a lock until it has it.

    None for a loop that has another way out (a number of tries, a deadline, a flag), and for one that
    releases or takes anything else, or calls a function that may do so or raise: that is the healthy way.
    """
    position = locate(frame, source)
    if position is None or source is None or source.changed:
        return None
    tried = failed_attempt(frame, source, position) or next(
        (
            attempt
            for one in on_line(position, frame.line)
            for part in running_parts(one)
            for attempt in attempts(part, source)
        ),
        None,
    )
    loop = next((step.statement for step in reversed(position.steps) if step.statement.type in LOOPS), None)
    if tried is None or loop is None or not within(tried.node, loop):
        return None
    return line_of(loop) if _is_endless(loop, tried.target) and _keeps(loop, tried.target, source) else None


def loops_around(frame: Frame, source: Source | None) -> frozenset[int]:
    """The first lines of the loops that a frame stands in."""
    position = locate(frame, source)
    steps = position.steps if position else ()
    return frozenset(line_of(step.statement) for step in steps if step.statement.type in LOOPS)


def _is_endless(loop: Node, target: str) -> bool:
    condition = loop.child_by_field_name("condition")
    if condition is None:
        return False
    tries = [call.node for call in calls(loop) if takes(call) and lock_of(call) == target]
    results = {
        text_of(node.child_by_field_name("left"))
        for node in inside(loop)
        if node.type == "assignment" and node.child_by_field_name("right") in tries
    }
    if text_of(condition) not in _ALWAYS and _says(condition, tries, results) is not False:
        return False
    return all(
        _has_it(node, loop, tries, results) for node in inside(loop) if node.type in _EXITS and node != loop
    )


def _says(condition: Node, tries: list[Node], results: set[str]) -> bool | None:
    """What a condition says of a try: True: it succeeded, False: it failed, None: something else."""
    while condition.type == "parenthesized_expression":
        condition = condition.named_children[0]
    if condition.type == "not_operator":
        argument = condition.child_by_field_name("argument")
        inner = _says(argument, tries, results) if argument is not None else None
        return None if inner is None else not inner
    return True if condition in tries or text_of(condition) in results else None


def _has_it(leaving: Node, loop: Node, tries: list[Node], results: set[str]) -> bool:
    """Whether a way out of a loop is only taken with the lock."""
    node: Node = leaving
    while node.parent is not None and node != loop:
        parent = node.parent
        if parent.type == "if_statement" and (condition := parent.child_by_field_name("condition")):
            says = _says(condition, tries, results)
            if says is (node == parent.child_by_field_name("consequence")):
                return True
        node = parent
    return False


def _keeps(loop: Node, target: str, source: Source) -> bool:
    """Whether nothing in a loop takes or releases another lock, or calls what does."""
    root = parse(source.text)
    leave = {
        text_of(found.child_by_field_name("name"))
        for found in (functions(root) if root is not None else ())
        if any(frees(call) for call in calls(found)) or any(node.type == _EXITS[-1] for node in inside(found))
    }
    if any(node.type in ("with_statement", "yield", "await") for node in inside(loop)):
        return False
    return all(
        lock_of(call) == target if takes(call) or frees(call) else call.name not in leave
        for call in calls(loop)
    )
