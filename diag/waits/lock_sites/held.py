"""Which locks a frame holds where it stands, by the source of its function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Where
from diag.model.source import Site, Sure
from diag.waits.lock_sites.expressions import (
    fails,
    locks_inside,
    made_of,
    resolve,
    speaks_of_lock,
    with_items,
)
from diag.waits.lock_sites.named import own_type
from diag.waits.lock_sites.polling import failed_attempt
from diag.waits.lock_sites.syntax import (
    Step,
    blocks,
    functions,
    line_of,
    locate,
    parse,
    statements,
    text_of,
    within,
)
from diag.waits.lock_sites.words import (
    calls,
    frees,
    lock_of,
    names_lock,
    says_free,
    takes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

    from diag.model.facts import Frame
    from diag.model.source import Source
    from diag.waits.lock_sites.words import Call

_RETURNS = ("return_statement", "raise_statement")
_LEAVES = (*_RETURNS, "break_statement", "continue_statement")
_ENTERS = ("__enter__", "__aenter__")
_COMPOUND = ("while_statement", "for_statement")

Ledger = dict[str, tuple["Node", str]]
"""What is held, in the order taken: lock expression -> (statement, "with" or "call")."""


def held(frame: Frame, source: Source | None, callee: Frame | None = None) -> tuple[Site, ...]:
    """List the locks that ``frame`` has taken and not released before its current line, outermost first.

    Only statements that speak of locks count, by name, by the object's type or by what the called
    function does; see ``enclosing`` for every ``with``. ``callee``, the frame it called, tells which item
    of a ``with`` is being entered where several stand on the line.
    """
    return tuple(site for site, speaks in _sites(frame, source, callee) if speaks)


def enclosing(frame: Frame, source: Source | None, callee: Frame | None = None) -> tuple[Site, ...]:
    """List the same and every other ``with`` around the line, whatever it is called."""
    return tuple(site for site, _ in _sites(frame, source, callee))


def each_taken(frame: Frame, source: Source | None) -> tuple[Site, ...]:
    """List the loops that take every lock of a collection: ``for lock in locks: lock.acquire()``.

    ``Site.target`` is the collection. Where the loop still runs, ``address`` is that of its variable: only
    what comes before it is held.
    """
    position = locate(frame, source)
    found: dict[str, Site] = {}
    for step in position.steps if position and source else ():
        block = step.statement.parent
        for loop in statements(block) if block is not None else ():
            if loop.type != "for_statement" or loop.start_byte > step.statement.start_byte:
                continue
            name, each = (text_of(loop.child_by_field_name(field)) for field in ("left", "right"))
            made = [call for call in calls(loop) if lock_of(call) == name]
            took = next((call for call in made if takes(call)), None)
            if any(map(frees, made)):
                found.pop(each, None)
            elif took is not None and source is not None:
                local, _ = resolve(frame, name)
                at = local.address if local and loop == step.statement else None
                site = _site(frame, source, each, took.node, "each", "")
                found[each] = replace(site, address=at)
    return tuple(found.values())


def taken_by(source: Source, function: str, line: int) -> tuple[str, ...]:
    """List the attributes of ``self`` that a method takes and does not release: "_lock".

    ``line``: its first, as the code object has it. A method of the same class that it calls counts as well.
    """
    root = parse(source.text)
    found = [*functions(root)] if root is not None else []
    method = next((each for each in found if _begins_at(each, function, line)), None)
    own = method.parent.parent if method is not None and method.parent is not None else None
    beside = [each for each in found if own is not None and within(each, own)]
    return tuple(dict.fromkeys(_left_taken(method, beside))) if method is not None else ()


def _begins_at(function: Node, name: str, line: int) -> bool:
    first = (
        function.parent if function.parent and function.parent.type == "decorated_definition" else function
    )
    named = text_of(function.child_by_field_name("name"))
    return named == name and first.start_point.row + 1 <= line <= function.start_point.row + 1


def _left_taken(method: Node, beside: list[Node], depth: int = 2) -> Iterator[str]:
    made = list(calls(method))
    freed = {lock_of(call) for call in made if frees(call)}
    for call in made:
        if call.target == "self" and depth:
            for other in beside:
                if text_of(other.child_by_field_name("name")) == call.name and other != method:
                    yield from _left_taken(other, beside, depth - 1)
        elif (takes(call) or call.name == "__enter__") and lock_of(call) not in freed:
            head, _, path = call.target.partition(".")
            if head == "self" and path and path.replace(".", "").replace("_", "").isalnum():
                yield path


def _sites(frame: Frame, source: Source | None, callee: Frame | None) -> Iterator[tuple[Site, bool]]:
    position = locate(frame, source)
    if position is None or source is None:
        return
    ledger: Ledger = {}
    steps = _first_on_row(_until_entered(position.steps, callee), frame, callee)
    for step in steps:
        _before(step.statement, ledger)
        _around(step, ledger)
    if steps[-1].statement.type == "with_statement" and steps[-1].block is None:
        for item in _entered(steps[-1].statement, frame, callee):
            ledger[_with_target(item)] = (item, "with")
    tried = failed_attempt(frame, source, position)
    if tried and tried.sure is Sure.SOURCE and ledger.get(tried.target, (None, ""))[0] == tried.node:
        del ledger[tried.target]  # it is asked for on every turn, and not held yet
    for target, (node, how) in ledger.items():
        made = made_of(position.scope, target)
        yield _site(frame, source, target, node, how, made), _speaks(frame, source, target, how, made)


def _until_entered(steps: tuple[Step, ...], callee: Frame | None) -> tuple[Step, ...]:
    """Cut at ``with lock: work()`` on one line while the frame it called still enters the lock."""
    if callee is None or callee.function.rpartition(".")[2] not in _ENTERS:
        return steps
    for n, step in enumerate(steps):
        if step.statement.type == "with_statement" and _on_one_line(step):
            return (*steps[:n], Step(step.statement, None, None))
    return steps


def _first_on_row(steps: tuple[Step, ...], frame: Frame, callee: Frame | None) -> tuple[Step, ...]:
    """Of ``take(); work()`` on one row choose the statement that makes the call; the first if none does."""
    last = steps[-1]
    if last.block is not None or last.statement.parent is None:
        return steps
    row = frame.line - 1
    there = [
        one for one in statements(last.statement.parent) if one.start_point.row <= row <= one.end_point.row
    ]
    name = callee.function.rpartition(".")[2] if callee else ""
    calling = next((one for one in there if any(call.name == name for call in calls(one))), None)
    return (*steps[:-1], Step(calling or there[0], None, None)) if len(there) > 1 else steps


def _on_one_line(step: Step) -> bool:
    return step.block is not None and step.block.start_point.row == step.statement.start_point.row


def _site(frame: Frame, source: Source, target: str, node: Node, how: str, made: str) -> Site:
    local, base = resolve(frame, target)
    return Site(
        where=Where(function=frame.function, file=frame.file, line=line_of(node)),
        expression=text_of(node),
        how=how,
        sure=Sure.PATTERN if source.changed else Sure.SOURCE,
        target=target,
        made=made,
        address=local.address if local else None,
        base=base.address if base else None,
    )


def _before(statement: Node, ledger: Ledger) -> None:
    """Enter what the statements before this one, in its block, took and released."""
    block = statement.parent
    for sibling in statements(block) if block is not None else ():
        if sibling.start_byte >= statement.start_byte:
            return
        _done(sibling, ledger)


def _around(step: Step, ledger: Ledger) -> None:
    """Enter what a compound statement took before the block in which the line is."""
    statement, clause = step.statement, step.clause
    if step.block is None or clause is None:
        return
    if statement.type == "with_statement":
        for item in with_items(statement):
            ledger[_with_target(item)] = (item, "with")
    elif statement.type == "if_statement":
        _choose(statement, clause, ledger)
    elif statement.type == "while_statement" and clause is statement:
        _test(statement, ledger, entered=True)
    elif statement.type == "try_statement" and clause.type in ("else_clause", "finally_clause"):
        for owner, block in blocks(statement):
            if owner is statement or owner.type == "else_clause":
                if owner is clause:
                    break
                _done_block(block, ledger, _LEAVES)


def _entered(statement: Node, frame: Frame, callee: Frame | None) -> list[Node]:
    """The items of a with statement before the one that is being entered on the frame's line."""
    items = list(with_items(statement))
    above = [item for item in items if item.end_point.row < frame.line - 1]
    kind = own_type(callee) if callee else None
    if kind is None or len(above) == len(items):  # on the line of the keyword again: it is being left
        return above if len(above) < len(items) else []
    now = next((n for n, item in enumerate(items) if kind in text_of(item).partition("(")[0]), len(above))
    return items[: max(now, len(above))]


def _with_target(item: Node) -> str:
    """The lock of a with item: the object of ``lock.acquire(1)``, else the expression itself."""
    if item.type == "call" and (call := next(calls(item), None)) and takes(call) and call.target:
        return lock_of(call)
    return text_of(item)


def _choose(statement: Node, clause: Node, ledger: Ledger) -> None:
    """Enter what the conditions of an if statement took on the way to one of its branches."""
    _test(statement, ledger, entered=clause is statement or clause == statement)
    for other in statement.named_children:
        if other.type == "elif_clause" and other.start_byte <= clause.start_byte:
            _test(other, ledger, entered=other == clause)


def _test(owner: Node, ledger: Ledger, *, entered: bool) -> None:
    """Enter what a condition took, if its outcome says that it did."""
    condition = owner.child_by_field_name("condition")
    if condition is None:
        return
    for call in calls(condition):
        if takes(call) and not fails(condition, call.node, entered=entered):
            ledger[lock_of(call)] = (call.node, "call")


def _done_block(block: Node, ledger: Ledger, gone: tuple[str, ...]) -> None:
    for statement in statements(block):
        _done(statement, ledger, gone)


def _done(statement: Node, ledger: Ledger, gone: tuple[str, ...] = _LEAVES) -> None:
    """Enter what a statement did that has been executed to its end.

    A branch that ends in a statement of ``gone`` did not lead here: after a whole loop ``break`` did.
    """
    if statement.type == "if_statement":
        _done_if(statement, ledger, gone)
    elif statement.type in _COMPOUND:
        _test(statement, ledger, entered=False)
        for _, block in blocks(statement):
            _done_block(block, ledger, _RETURNS)
    elif statement.type == "try_statement":
        kept = [
            (clause, block) for clause, block in blocks(statement) if not clause.type.startswith("except")
        ]
        succeeds = not any(_leaves(block, gone) for clause, block in kept if clause.type != "finally_clause")
        for clause, block in kept:
            if succeeds or clause.type == "finally_clause":
                _done_block(block, ledger, gone)
    elif statement.type == "with_statement":
        for _, block in blocks(statement):
            _done_block(block, ledger, gone)
    elif not statement.type.endswith("_definition"):
        for call in calls(statement):
            _enter(call, ledger)


def _done_if(statement: Node, ledger: Ledger, gone: tuple[str, ...]) -> None:
    branches = list(blocks(statement))
    leaves = bool(branches) and _leaves(branches[0][1], gone)
    _test(statement, ledger, entered=not leaves)
    for _, block in branches:
        if not _leaves(block, gone):
            _done_block(block, ledger, gone)


def _leaves(block: Node, gone: tuple[str, ...]) -> bool:
    """Whether a block does not go on to the statement after it."""
    inner = statements(block)
    return bool(inner) and inner[-1].type in gone


def _enter(call: Call, ledger: Ledger) -> None:
    if frees(call) or call.name == "close":
        freed = lock_of(call) if call.name != "close" else call.target
        ledger.pop(freed, None)
        if not freed and says_free(call.name):  # unlock(): whatever this module locked last
            ledger.popitem() if ledger else None
    elif takes(call):
        ledger.setdefault(lock_of(call), (call.node, "call"))


def _speaks(frame: Frame, source: Source, target: str, how: str, made: str) -> bool:
    """Whether an expression speaks of a lock."""
    if how == "call":
        return True
    if speaks_of_lock(target) or speaks_of_lock(made):
        return True
    local, _ = resolve(frame, target)
    if local is not None and local.type_name and names_lock(local.type_name):
        return True
    return "(" in target and locks_inside(target.partition("(")[0].rpartition(".")[2], source)
