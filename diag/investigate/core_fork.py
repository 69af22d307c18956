"""Whether the process of a core was forked, and executed no other program since, as its main stack shows.

Who forks goes on in the child where the parent goes on: the frame that called fork() is still there, at a
line of the branch for the child. That branch is told from the source: ``if pid == 0:``, ``if not pid:``, the
``else`` of ``if pid:``, or what follows ``if pid: … return``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.facts import Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.investigate.inquiry import Inquiry

_FORK = re.compile(r"\bfork\(\)")
_CHILD = re.compile(r"(?:if|elif)\b.*(?:==\s*0|\bnot\s+\S+|is\s+None)\s*:|(?:if|elif)\b.*\b0\s*==.*:")
_PARENT = re.compile(r"(?:if|elif)\b.*:")
_LONGEST = 60
"""Lines of a function between fork() and where the child is."""


def forked_at(inquiry: Inquiry, pid: int) -> Where | None:
    """Find the frame of the main thread that forked this process; None where none shows it."""
    stack = inquiry.stack(pid, pid)
    if stack is None:
        return None
    sources = inquiry.sources(stack)
    for frame in stack.frames:
        source = sources.get(frame.file)
        if source and is_child(source.text.decode("utf-8", "replace").split("\n"), frame.line):
            return Where(function=frame.function, file=frame.file, line=frame.line)
    return None


def is_child(lines: Sequence[str], number: int) -> bool:
    """Whether line ``number`` (from 1) stands where only the child of a fork() above it comes to."""
    if not 1 <= number <= len(lines):
        return False
    depth = _indent(lines[number - 1])
    if _FORK.search(lines[number - 1]):
        return False
    found = None  # what the lines between say: True the child's branch, False the parent's
    for at in range(number - 2, max(number - 2 - _LONGEST, -1), -1):
        line = lines[at].strip()
        indent = _indent(lines[at])
        if not line or line.startswith("#"):
            continue
        if _FORK.search(line):
            return bool(_CHILD.match(line) and indent < depth) or found is True
        if line.startswith(("def ", "class ", "async def ")) and indent < depth:
            return False
        if found is None:
            found = _branch(lines, at, depth)
        depth = min(depth, indent) if indent < depth else depth
    return False


def _branch(lines: Sequence[str], at: int, depth: int) -> bool | None:
    """Tell what the line before says of the branch; None: nothing."""
    line, indent = lines[at].strip(), _indent(lines[at])
    if indent < depth:
        if _CHILD.match(line):
            return True
        if line == "else:":
            return _else_of(lines, at, indent)
        return False if _PARENT.match(line) else None
    if indent == depth and _PARENT.match(line) and not _CHILD.match(line):
        # "if pid: … return": who comes below it is the child.
        body = [text for text in lines[at + 1 :][:20] if text.strip()]
        inner = []
        for text in body:
            if _indent(text) <= indent:
                break
            inner.append(text.strip())
        return (
            True
            if inner and re.match(r"return\b|os\._exit|sys\.exit|raise\b|continue\b", inner[-1])
            else None
        )
    return None


def _else_of(lines: Sequence[str], at: int, indent: int) -> bool | None:
    """The else of ``if pid:`` is the child's branch."""
    for text in reversed(lines[max(at - _LONGEST, 0) : at]):
        if text.strip() and _indent(text) == indent:
            head = text.strip()
            if head.startswith(("if ", "elif ")):
                return not _CHILD.match(head)
    return None


def _indent(line: str) -> int:
    text = line.expandtabs()
    return len(text) - len(text.lstrip())
