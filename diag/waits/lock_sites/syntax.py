"""Python source as a tree, from 2.7 to the newest, with all its errors.

tree-sitter parses what it can and marks what it cannot, so the syntax of Python 2, of versions newer
than our own and torn files are all the same to us; it neither imports nor compiles anything. The work
is bounded by sizes, not by the clock, so that a replay decides as the recording did.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

    from diag.model.facts import Frame
    from diag.model.source import Source

_FILE_NODES = 300_000
"""Nodes a file may have: a megabyte of ordinary source has that many."""
_NODES = 50_000
"""Nodes a function may have before it is taken for hostile, or generated beyond reading."""
_LONGEST = 4000
"""Bytes of an expression that is read."""
_LEVELS = 1000
"""Levels of the tree, several to a block, in which a function is looked for."""
_DEPTH = 200
"""Nested blocks that are followed; CPython's own compiler stops at 100."""

_SCOPES = ("function_definition", "class_definition", "lambda")


class Step(NamedTuple):
    """One level of nesting around a line: a statement, and the part of it that the line is in."""

    statement: Node
    clause: Node | None  # owns the block: the statement itself, an else_clause, except_clause ...
    block: Node | None  # None: the line is in a simple statement, or in a compound one's header


class Position(NamedTuple):
    """Where a frame stands: its function and the nesting down to its line, outermost first."""

    scope: Node
    steps: tuple[Step, ...]


@lru_cache(maxsize=64)
def parse(text: bytes) -> Node | None:
    """Parse source text; None when there is more of it than a person could have written.

    130 kB take 0.015 s; half a megabyte of the worst noise that was found takes a second.
    """
    from tree_sitter import Language, Parser  # noqa: PLC0415 - load only when used: 10 ms
    from tree_sitter_python import language  # noqa: PLC0415

    root = Parser(Language(language())).parse(text).root_node
    return root if root.descendant_count <= _FILE_NODES else None


def locate(frame: Frame, source: Source | None) -> Position | None:
    """Find the frame's function and line in the source; None when they do not belong together."""
    if source is None or frame.line < 1:
        return None
    return _position(source.text, frame.function, frame.line - 1)


@lru_cache(maxsize=512)
def _position(text: bytes, function: str, row: int) -> Position | None:
    root = parse(text)
    scope = _scope(root, function, row) if root is not None else None
    if scope is None or scope.descendant_count > _NODES:
        return None
    body = scope if scope.type == "module" else scope.child_by_field_name("body")
    if body is None:
        return None
    steps = tuple(_descend(body, row))
    return Position(scope, steps) if steps else None


def _scope(root: Node, function: str, row: int) -> Node | None:
    """Find the innermost scope at a row that can be the code object of this name."""
    name = function.rpartition(".")[2]
    if name == "<module>":
        return root
    found = None
    node: Node | None = root
    for _ in range(_LEVELS):
        node = _child_at(node, row) if node is not None else None
        if node is not None and node.type in _SCOPES:
            named = node.child_by_field_name("name")
            if name.startswith("<") or (named is not None and text_of(named) == name):
                found = node
    return _lambda_at(found, row) if name == "<lambda>" and found is not None else found


def _lambda_at(scope: Node, row: int) -> Node | None:
    """The one lambda of a scope at a row; of several on one line nobody can tell which one runs."""
    if scope.type == "lambda":
        return scope
    if scope.descendant_count > _NODES:
        return None
    found = [node for node in inside(scope) if node.type == "lambda" and _covers(node, row)]
    return found[0] if len(found) == 1 else None


def _child_at(node: Node, row: int) -> Node | None:
    """The child that covers a row; of several, the first that holds a whole block there."""
    covering = [child for child in node.named_children if child.start_point.row <= row <= child.end_point.row]
    return max(covering, key=lambda child: child.end_point.row - child.start_point.row, default=None)


def _descend(block: Node, row: int) -> Iterator[Step]:
    current: Node | None = block
    for _ in range(_DEPTH):
        if current is None:
            return
        covering = [child for child in current.named_children if _covers(child, row)]
        if not covering:
            return
        statement = covering[-1]
        if statement.type in ("decorated_definition", *_SCOPES):
            yield Step(statement, None, None)
            return
        clause, current = _block_at(statement, row)
        yield Step(statement, clause, current)


def _covers(node: Node, row: int) -> bool:
    return node.type != "comment" and node.start_point.row <= row <= node.end_point.row


def _block_at(statement: Node, row: int) -> tuple[Node | None, Node | None]:
    """Find the block of a compound statement that covers a row, and the clause it belongs to."""
    for owner, block in blocks(statement):
        if block.start_point.row <= row <= block.end_point.row:
            return owner, block
    return None, None


def blocks(statement: Node) -> Iterator[tuple[Node, Node]]:
    """Yield each (clause, block) of a compound statement; its own body first."""
    for child in statement.named_children:
        if child.type == "block":
            if statement.type == "match_statement":
                yield from ((case, inner) for case in child.named_children for _, inner in blocks(case))
            else:
                yield statement, child
        elif child.type.endswith("_clause"):
            yield from ((child, inner) for inner in child.named_children if inner.type == "block")


def inside(node: Node) -> Iterator[Node]:
    """Yield a node and all below it in order of the text; functions and classes in it are not entered."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        if current is node or current.type not in _SCOPES:
            waiting.extend(reversed(current.named_children))


def statements(block: Node) -> list[Node]:
    """The statements of a block."""
    return [child for child in block.named_children if child.type != "comment"]


def text_of(node: Node | None, limit: int = 120) -> str:
    """The text of an expression on one line, cut at ``limit`` characters; "…" for one beyond reading."""
    if node is None:
        return ""
    if node.end_byte - node.start_byte > _LONGEST:  # each link of a long chain would copy all before it
        return "…"
    text = " ".join((node.text or b"").decode("utf-8", "replace").split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def on_line(position: Position, line: int) -> list[Node]:
    """The statements of the innermost block that a line is part of: ``take(); work()`` are two."""
    inner = position.steps[-1].statement
    beside = statements(inner.parent) if inner.parent is not None else [inner]
    found = [one for one in beside if one.start_point.row < line <= one.end_point.row + 1]
    return found if inner in found else [inner]


def line_of(node: Node) -> int:
    """The line a node starts on, counted from 1."""
    return node.start_point.row + 1


def within(node: Node, outer: Node) -> bool:
    """Whether one node lies inside another."""
    return outer.start_byte <= node.start_byte and node.end_byte <= outer.end_byte


def functions(root: Node) -> Iterator[Node]:
    """Every function definition of a file."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type == "function_definition":
            yield node
        waiting.extend(
            child
            for child in node.named_children
            if child.type in ("block", "decorated_definition", *_SCOPES)
            or child.type.endswith(("_statement", "_clause"))
        )
