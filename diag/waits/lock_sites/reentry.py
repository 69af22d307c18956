"""Code that the interpreter runs in the middle of other code: signal handlers, finalizers, callbacks."""

from __future__ import annotations

import re
import signal as numbers
from itertools import pairwise
from typing import TYPE_CHECKING

from diag.model.facts import Where
from diag.model.source import Handler

if TYPE_CHECKING:
    from diag.model.facts import Frame, Local, Stack

_HIGHEST_SIGNAL = 64
_SIGNAL_TUPLE = re.compile(r"\((\d+), <frame at 0x")  # *args of a handler
_EVENTS = ('"call"', '"line"', '"return"', '"exception"', '"opcode"', '"c_call"', '"c_return"')


def handler_between(stack: Stack, outer: int, inner: int) -> Handler | None:
    """Find the code that interrupted frame ``outer`` and led to frame ``inner`` (indexes, innermost is 0).

    A signal handler is known by its arguments: a signal number and the interrupted frame (signal(7) and
    ``signal.signal``), in this order, after ``self`` for a method; every version from 2.7 on calls it so.
    The outermost is returned where several are nested, as it is the one that interrupted ``outer``.
    """
    for n in range(min(outer, len(stack.frames)) - 1, inner - 1, -1):
        frame = stack.frames[n]
        if frame.native:
            continue
        if handler := _signal(frame, n) or _other(frame, n):
            return handler
    return None


def interrupts(frame: Frame) -> bool:
    """Whether the interpreter itself called a frame, whatever the next one out was doing."""
    return _signal(frame, 0) is not None or _other(frame, 0) is not None


def _signal(frame: Frame, n: int) -> Handler | None:
    number = _signal_number(frame)
    if number is None:
        return None
    return Handler(frame=n, kind="signal", where=_where(frame), signal=number, name=signal_name(number))


def _signal_number(frame: Frame) -> int | None:
    arguments = [local for local in frame.locals if local.argument]
    for first, second in pairwise(arguments[:3]):
        if first.value.isdecimal() and 1 <= int(first.value) <= _HIGHEST_SIGNAL and _is_frame(second):
            return int(first.value)
    for local in frame.locals:
        if found := _SIGNAL_TUPLE.match(local.value):
            return int(found.group(1))
    return None


def _is_frame(local: Local) -> bool:
    return local.type_name == "frame"


def signal_name(number: int) -> str:
    """Name a signal as signal(7) does; ``signal 42`` for one without a name."""
    try:
        return numbers.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _other(frame: Frame, n: int) -> Handler | None:
    name = frame.function.rpartition(".")[2]
    arguments = [local for local in frame.locals if local.argument]
    types = [local.type_name for local in arguments]
    kind = None
    if name == "__del__":
        kind = "finalizer"
    elif any(kind in ("weakref", "weakref.ReferenceType", "ReferenceType", "KeyedRef") for kind in types):
        kind = "weakref"
    elif (
        len(arguments) == 2
        and arguments[0].value in ('"start"', '"stop"')
        and "generation" in arguments[1].value
    ):
        kind = "gc"
    elif any(_is_frame(a) and b.value in _EVENTS for a, b in pairwise(arguments)):
        kind = "trace"
    return Handler(frame=n, kind=kind, where=_where(frame)) if kind else None


def _where(frame: Frame) -> Where:
    return Where(function=frame.function, file=frame.file, line=frame.line)
