"""What a thread is doing, for a person; and whether it keeps sending signals to others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from diag.model.facts import Where
from diag.model.source import Doing
from diag.waits.lock_sites.asker import running_parts
from diag.waits.lock_sites.places import is_own, is_stdlib
from diag.waits.lock_sites.polling import LOOPS
from diag.waits.lock_sites.syntax import functions, line_of, locate, parse, text_of
from diag.waits.lock_sites.words import calls, first_argument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tree_sitter import Node

    from diag.model.facts import Frame, Stack
    from diag.model.source import Source
    from diag.waits.lock_sites.words import Call

_SENDS = frozenset({"kill", "killpg", "terminate", "send_signal", "pidfd_send_signal", "tgkill"})


def doing(stack: Stack, sources: Mapping[str, Source] | None = None) -> Doing | None:
    """Say where a thread is in the user's own code, and what it called there; None without a stack."""
    python = [frame for frame in stack.frames if not frame.native]
    if not python:
        return None
    own = next((n for n, frame in enumerate(python) if is_own(frame.file)), None)
    if own is None:  # a tool that is installed as a whole: what is not the standard library's
        own = next((n for n, frame in enumerate(python) if not is_stdlib(frame.file)), 0)
    frame = python[own]
    where = Where(function=frame.function, file=frame.file, line=frame.line)
    call = _called(python[0], (sources or {}).get(python[0].file))
    if call and "sleep" in call:
        return Doing(where=where, words=f"sleeping in {call}, {where}")
    name = python[own - 1].function if own else call
    return Doing(where=where, words=f"in {name}, {where}" if name else str(where))


def _called(frame: Frame, source: Source | None) -> str | None:
    """The C function that the innermost Python frame has called, where its line holds only one call."""
    position = locate(frame, source)
    if position is None:
        return None
    found = [call for part in running_parts(position.steps[-1].statement) for call in calls(part)]
    if len(found) != 1:
        return None
    return f"{found[0].target}.{found[0].name}" if found[0].target.isidentifier() else found[0].name


def signaller(
    stack: Stack, sources: Mapping[str, Source], child_pids: frozenset[int] = frozenset()
) -> Where | None:
    """Find the line that keeps sending signals: in a loop around the stack's lines, or called from it.

    ``child_pids``: the children that were signalled; a loop whose frame names other pids only is not it.
    """
    for frame in stack.frames:
        source = sources.get(frame.file)
        position = locate(frame, source)
        if position is None or source is None or frame.native:
            continue
        loops = (step.statement for step in position.steps if step.statement.type in LOOPS)
        for call in (call for loop in loops for call in calls(loop)):
            if (sends(call) and _may_hit(call, frame, child_pids)) or call.name in _senders(source.text):
                return Where(function=frame.function, file=frame.file, line=line_of(call.node))
    return None


def _may_hit(call: Call, frame: Frame, child_pids: frozenset[int]) -> bool:
    """Whether a call may signal one of the children: no, if its pid is in memory and is another's."""
    local = next((local for local in frame.locals if local.name == first_argument(call)), None)
    return not child_pids or local is None or not local.value.isdecimal() or int(local.value) in child_pids


def sends(call: Call) -> bool:
    """Whether a call sends a signal; ``kill(pid, 0)`` only asks whether the process exists."""
    return call.name in _SENDS and not call.arguments.replace(" ", "").endswith(",0")


def sends_signals(node: Node, source: Source) -> bool:
    """Whether a piece of code sends signals, itself or by a function of the same source."""
    return any(sends(call) or call.name in _senders(source.text) for call in calls(node))


@lru_cache(maxsize=64)
def _senders(text: bytes) -> frozenset[str]:
    """The names of all functions in a source that send signals."""
    root = parse(text)
    return frozenset(
        text_of(found.child_by_field_name("name"))
        for found in (functions(root) if root is not None else ())
        if any(sends(call) for call in calls(found))
    )
