"""Expressions that stand for locks: which object they mean, how it was made, whether they speak of a lock."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from diag.waits.lock_sites.syntax import functions, inside, parse, text_of, within
from diag.waits.lock_sites.words import calls, is_lock_word, locks_file, makes_file, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

    from diag.model.facts import Frame, Local
    from diag.model.source import Source

_SAYS_NO = (" is None", " is False", "== False", "!= True", "== 0", "== None")


def resolve(frame: Frame, target: str) -> tuple[Local | None, Local | None]:
    """Find the local that an expression names, or the one whose attribute it names."""
    head, dot, rest = target.partition(".")
    local = next((local for local in frame.locals if local.name == head), None)
    if not dot:
        return local, None
    return None, local if rest.replace(".", "").replace("_", "").isalnum() else None


def with_items(statement: Node) -> Iterator[Node]:
    """Yield the expressions of a with statement, in order."""
    for clause in statement.named_children:
        if clause.type == "with_clause":
            for item in clause.named_children:
                value = item.child_by_field_name("value") if item.type == "with_item" else None
                if value is not None and value.type == "as_pattern" and value.named_children:
                    value = value.named_children[0]
                if value is not None:
                    yield from value.named_children if value.type == "tuple" else (value,)


def speaks_of_lock(expression: str) -> bool:
    """Whether an expression names a lock, its arguments left aside: ``self.lock``, ``FileLock(path)``."""
    called = expression.partition("(")[0]
    return any(is_lock_word(word) for part in called.split(".") for word in split(part))


def locks_inside(function: str, source: Source) -> bool:
    """Whether a function of this name in the file locks a file itself."""
    return function in _lockers(source.text)


@lru_cache(maxsize=64)
def _lockers(text: bytes) -> frozenset[str]:
    """The names of all functions in a source that lock a file; asked once for every call in it."""
    root = parse(text)
    return frozenset(
        text_of(found.child_by_field_name("name"))
        for found in (functions(root) if root is not None else ())
        if any(
            locks_file(call) or makes_file(call) or (call.name == "open" and b"O_EXCL" in (found.text or b""))
            for call in calls(found)
        )
    )


def fails(condition: Node, outcome: Node, *, entered: bool) -> bool:
    """Whether a condition, met or not, says that something in it did not succeed: ``not lock.acquire(0)``."""
    negated = False
    node: Node | None = condition
    while node is not None and node != outcome:
        if node.type == "not_operator" or (
            node.type == "comparison_operator" and text_of(node).endswith(_SAYS_NO)
        ):
            negated = not negated
        node = next((child for child in node.named_children if within(outcome, child)), None)
    return negated == entered


def made_of(scope: Node, target: str) -> str:
    """How a function makes what an expression names: ``open(path)`` for ``f``, after ``f = open(path)``."""
    for node in inside(scope):
        if node.type == "assignment" and text_of(node.child_by_field_name("left")) == target:
            return text_of(node.child_by_field_name("right"))
        if node.type == "as_pattern" and text_of(node.child_by_field_name("alias")) == target:
            return text_of(node.named_children[0])
    return ""
