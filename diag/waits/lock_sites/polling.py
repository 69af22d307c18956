"""Whether a sleep is the pause between two tries for a lock, by the structure around it."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from diag.model.source import Sure
from diag.waits.lock_sites.expressions import fails, locks_inside, speaks_of_lock, with_items
from diag.waits.lock_sites.syntax import blocks, functions, inside, parse, statements, text_of, within
from diag.waits.lock_sites.words import (
    calls,
    frees,
    lock_of,
    locks_file,
    makes_file,
    names_lock,
    says_take,
    split,
    takes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

    from diag.model.facts import Frame
    from diag.model.source import Source
    from diag.waits.lock_sites.syntax import Position, Step
    from diag.waits.lock_sites.words import Call

LOOPS = ("while_statement", "for_statement")
_EXITS = ("break_statement", "return_statement")
_PLAIN = ("pass_statement", "continue_statement", "expression_statement", "print_statement", *_EXITS)
_MANY = 20
"""Tries in one loop that are looked at."""
_REFUSALS = frozenset({"timeout", "lock", "locked", "blocking", "busy", "exists", "acquire", "already"})
"""Words of exceptions that say "somebody else has it": Timeout, LockException, BlockingIOError ..."""


class Attempt(NamedTuple):
    """A try for a lock, after whose failure the frame sleeps."""

    node: Node
    target: str
    on_file: bool  # the try itself locks or makes a file
    sure: Sure = Sure.SOURCE


def failed_attempt(frame: Frame, source: Source, position: Position) -> Attempt | None:
    """Find the try for a lock whose failure the frame's line follows; None when there is none.

    A sleep where the try has failed (its except clause, its else) is such a pause, and so is one in a loop
    that is left as soon as the lock is there. A loop that takes the lock, works, releases it and sleeps
    then only paces itself. What cannot be told is ``Sure.PATTERN``.
    """
    had = {local.name for local in frame.locals if local.value == "True"}
    results = {name: tried for name, tried in _results_of(position.scope, source) if name not in had}
    loops = 0
    leaving = False  # the line is on its way out of the loop: the try has succeeded
    for step in reversed(position.steps):
        found = _refused(step, results, source)
        if step.statement.type in LOOPS:
            loops += 1
            if found is None and not leaving:
                found = _until_taken(step.statement, had, source)
            leaving = False
        elif step.block is not None and step.clause is not None and step.clause.type != "except_clause":
            leaving = leaving or _leaves(step.block)
        if found is not None or loops == 2:  # a pause may be sliced by a loop of its own
            return found
    return None


def _leaves(block: Node) -> bool:
    inner = statements(block)
    return bool(inner) and inner[-1].type in _EXITS


def attempts(node: Node, source: Source) -> Iterator[Attempt]:
    """Yield the calls in a piece of code that try to take a lock.

    Those that a ``with`` in it enters are none: it gets the lock or raises, and gives it back at its end.
    """
    entered = [inner for inner in inside(node) if inner.type == "with_clause" and inner != node]
    for call in calls(node):
        if any(within(call.node, clause) for clause in entered):
            continue
        if locks_file(call) or makes_file(call):
            yield Attempt(call.node, lock_of(call), on_file=True)
        elif takes(call):
            yield Attempt(call.node, lock_of(call), on_file=locks_inside(call.name, source))
        elif not frees(call) and locks_inside(call.name, source):
            yield Attempt(call.node, lock_of(call), on_file=True)
        elif call.node.parent is not None and call.node.parent.type == "await":
            yield from _given(call, source)


def tries_inside(function: str, source: Source) -> bool:
    """Whether a function of this name in the file tries for a lock."""
    root = parse(source.text)
    return any(
        next(attempts(each, source), None) is not None
        for each in (functions(root) if root is not None else ())
        if text_of(each.child_by_field_name("name")) == function
    )


def _given(call: Call, source: Source) -> Iterator[Attempt]:
    """Yield the try that a coroutine gives away: ``await run_in_executor(None, self._acquire)``."""
    for argument in _arguments(call.node):
        owner, _, name = text_of(argument).rpartition(".")
        if argument.type in ("identifier", "attribute") and says_take(name):
            yield Attempt(call.node, owner, locks_inside(name, source))


@lru_cache(maxsize=512)
def _results_of(scope: Node, source: Source) -> tuple[tuple[str, Attempt], ...]:
    """Keep them: a handler that nests a hundred deep stands in the same functions again and again."""
    return tuple(_results(scope, source))


def _results(scope: Node, source: Source) -> Iterator[tuple[str, Attempt]]:
    """Yield the variables that say how a try went: ``got = lock.acquire(0)``; ``locked = True`` after one."""
    for node in inside(scope):
        if node.type == "block":
            tried: Attempt | None = None
            for statement in statements(node):
                if statement.type != "expression_statement":
                    continue
                for assignment in (child for child in inside(statement) if child.type == "assignment"):
                    value = assignment.child_by_field_name("right")
                    mine = next(attempts(value, source), None) if value is not None else None
                    says = mine or (tried if value is not None and text_of(value) == "True" else None)
                    if says:
                        yield text_of(assignment.child_by_field_name("left")), says
                tried = next(attempts(statement, source), tried)


def _refused(step: Step, results: Mapping[str, Attempt], source: Source) -> Attempt | None:
    """The line is in a branch that is only entered when a try has failed."""
    statement, clause = step.statement, step.clause
    if clause is None:
        return None
    if clause.type.startswith("except"):
        return _refused_by_exception(statement, clause, source)
    if statement.type not in ("while_statement", "if_statement"):
        return None
    elifs = [child for child in statement.named_children if child.type == "elif_clause"]
    for owner in (statement, *elifs):
        condition = owner.child_by_field_name("condition")
        if owner.start_byte > clause.start_byte or condition is None:
            continue
        for node, attempt in _outcomes(condition, results, source):
            if fails(condition, node, entered=owner == clause):
                return attempt
    return None


def _outcomes(
    condition: Node, results: Mapping[str, Attempt], source: Source
) -> Iterator[tuple[Node, Attempt]]:
    """Yield what in a condition tells how a try went: the try itself, or the variable of its result."""
    yield from ((attempt.node, attempt) for attempt in attempts(condition, source))
    for node in inside(condition):
        if node.type in ("identifier", "attribute") and (attempt := results.get(text_of(node))):
            yield node, attempt


def _refused_by_exception(statement: Node, clause: Node, source: Source) -> Attempt | None:
    """The line is in the except clause of a try for a lock; sure if nothing else can have raised."""
    body = next((block for owner, block in blocks(statement) if owner == statement), None)
    if body is None:
        return None
    caught = [text_of(part) for part in clause.named_children if part.type != "block"]
    named = any(_REFUSALS.intersection(split(name)) for name in caught)
    tried = [*attempts(body, source)]
    if named:
        tried += _makings(body)
    for attempt in tried:
        rest = [inner for inner in statements(body) if inner.start_byte > attempt.node.start_byte]
        alone = all(inner.type in _PLAIN and not any(calls(inner)) for inner in rest)
        return attempt if named or alone else attempt._replace(sure=Sure.PATTERN)
    for node in inside(body):
        for item in with_items(node) if node.type == "with_statement" else ():
            if speaks_of_lock(text_of(item)):
                sure = Sure.SOURCE if named else Sure.PATTERN
                return Attempt(item, text_of(item), on_file=False, sure=sure)
    return None


def _makings(body: Node) -> Iterator[Attempt]:
    """Yield calls that make a lock: they may take it at once, and raise if somebody else has it."""
    for call in calls(body):
        if names_lock(call.name) and not frees(call):
            yield Attempt(call.node, text_of(call.node), on_file=False)


def _until_taken(loop: Node, had: set[str], source: Source) -> Attempt | None:
    """The line is in a loop that tries for a lock and is left when it has it."""
    body = loop.child_by_field_name("body")
    if body is None:
        return None
    freed = {lock_of(call) for call in calls(body) if frees(call)}
    for attempt in islice(attempts(body, source), _MANY):
        if attempt.target in freed or "" in freed or _result_of(attempt) in had or _waits(attempt):
            continue
        if _left_after(attempt.node, body) or _ends_by_lock(loop, attempt.target):
            return attempt
        return attempt._replace(sure=Sure.PATTERN)
    return None


def _waits(attempt: Attempt) -> bool:
    """Whether the kernel makes the call wait: there is nothing to try again."""
    text = text_of(attempt.node)
    return any(flag in text for flag in ("LOCK_EX", "LOCK_SH", "F_SETLKW")) and not (
        "_NB" in text or "NON_BLOCKING" in text
    )


def _left_after(attempt: Node, body: Node) -> bool:
    """Whether the loop is left, by break or return, somewhere after the try, and not because it failed."""
    refusing = [node for node in inside(body) if node.type == "except_clause"]
    return any(
        node.type in _EXITS
        and node.end_byte >= attempt.end_byte
        and not any(within(node, clause) for clause in refusing)
        for node in inside(body)
    )


def _ends_by_lock(loop: Node, target: str) -> bool:
    """Whether the loop's condition is about the lock: ``not self.is_locked``, ``lock.fd is None``."""
    condition = loop.child_by_field_name("condition")
    if condition is None:
        return False
    names = {text_of(node) for node in inside(condition) if node.type in ("identifier", "attribute")}
    if target not in ("", "self", "cls") and any(f"{name}.".startswith(f"{target}.") for name in names):
        return True
    return any({"locked", "acquired"}.intersection(split(name)) for name in names)


def _result_of(attempt: Attempt) -> str:
    """The variable that takes the outcome of the try."""
    parent = attempt.node.parent
    left = parent.child_by_field_name("left") if parent is not None and parent.type == "assignment" else None
    return text_of(left)


def retries_what_it_is_given(position: Position) -> bool:
    """Whether a loop around the line calls something with arguments passed through: ``fn(*args)``."""
    loops = (step.statement for step in position.steps if step.statement.type in LOOPS)
    return any(passes_through(loop) for loop in loops)


def passes_through(node: Node) -> bool:
    """Whether code calls something with the arguments that it was given itself: ``fn(*args, **kwargs)``."""
    splats = ("list_splat", "dictionary_splat")
    return any(found.type in splats for call in calls(node) for found in _arguments(call.node))


def _arguments(call: Node) -> list[Node]:
    arguments = call.child_by_field_name("arguments")
    return arguments.named_children if arguments is not None else []
