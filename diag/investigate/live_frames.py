"""Adds to the frames that py-spy showed what it leaves out: variables in cells, what ``with`` has entered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.pyobjects import stacks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Frame, Stack

MOST = 200
"""Threads of one process whose frames are read a second time."""


def add(inquiry: Inquiry, pid: int, known: Iterable[Stack]) -> dict[int, Stack]:
    """Return better known stacks of one process by their ``ident``.

    Nobody is stopped: a frame counts where function and line are those that py-spy saw.
    """
    by_ident = {stack.ident: stack for stack in [*known][:MOST] if stack.ident and stack.tid}
    objects = inquiry.objects(pid) if by_ident else None
    if objects is None:
        return {}
    idents = {ident: stack.tid or 0 for ident, stack in by_ident.items()}
    found = {}
    for stack in stacks.stacks(objects, idents):
        own = by_ident[stack.ident]
        frames = _joined(own.frames, stack.frames)
        found[stack.ident] = replace(own, frames=frames, thread=own.thread or stack.thread)  # 2.7: no name
    return found


def _joined(seen: tuple[Frame, ...], read: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Join both looks at one thread, from the outermost frame inwards until they differ.

    Who is in a signal handler now, or has gone on a little, still stands in the same outer frames.
    """
    found = list(seen)
    outer = iter(reversed(read))
    for n in reversed(range(len(seen))):
        if seen[n].native:
            continue
        own = next(outer, None)
        if own is None or _place(own) != _place(seen[n]):
            break
        found[n] = _with(seen[n], own)
    return tuple(found)


def _place(frame: Frame) -> tuple[str, int]:
    return frame.function.rpartition(".")[2], frame.line


def _with(frame: Frame, read: Frame) -> Frame:
    names = {local.name for local in frame.locals}
    more = tuple(local for local in read.locals if local.name not in names)
    return replace(frame, locals=(*frame.locals, *more), entered=read.entered)
