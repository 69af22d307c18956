"""Python stacks of a living process, from its memory alone: where py-spy can not read them.

It gives up on stacks of more than 4,096 frames (measured with 0.4.3: "Failed to find a python interpreter"),
as recursion makes them, and handlers of a signal that comes again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import thread_ids
from diag.collectors.pyobjects import stacks, threads
from diag.collectors.pyobjects.frames import MOST_FRAMES
from diag.model.facts import Frame, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.collectors.pyobjects import PyObjects
    from diag.host import Host

DEEPEST = 100_000
"""Frames of one stack that are counted; the innermost and the outermost ``MOST_FRAMES`` are read."""
_TRIES = 3


def collect(host: Host, objects: PyObjects) -> tuple[Stack, ...]:
    """Read the stacks of the threads that stand still, or go on further in, while they are read.

    Nobody is stopped. Between the innermost and the outermost frames the rest of a deep stack is left out.
    """
    tids = {inner: tid for tid, (inner, _) in thread_ids.tasks_of(host, objects.pid).items()}
    names = {one.ident: one.name for one in threads.threads(objects) if one.ident}
    found = []
    for state in tuple(stacks.states(objects)):
        ident, tid = _thread(objects, state, tids)
        frames = _standing(objects, state) if tid else ()
        if frames:
            found.append(Stack(pid=objects.pid, tid=tid, ident=ident, thread=names.get(ident), frames=frames))
    return tuple(found)


def _thread(objects: PyObjects, state: int, tids: Mapping[int, int]) -> tuple[int, int | None]:
    """Find the thread pointer in a PyThreadState, by the thread id in what it points to."""
    for word in objects.memory.words(state, stacks.WORDS):
        block = objects.memory.read(word, thread_ids.BLOCK) if word % 16 == 0 else None
        inner = thread_ids.tid_in(block, tids) if block else None
        if inner is not None:
            return word, tids[inner]
    return 0, None


def _standing(objects: PyObjects, state: int) -> tuple[Frame, ...]:
    """Read a stack whose frames are all still there afterwards; none where it never stood still."""
    for _ in range(_TRIES):
        objects.forget()
        chain = _chain(objects, state)
        frames = _ends(objects, chain)
        objects.forget()
        if chain and _chain(objects, state)[-len(chain) :] == chain:
            return frames
    return ()


def _chain(objects: PyObjects, state: int) -> list[int]:
    """The addresses of all frames of a thread, innermost first."""
    at = stacks.top(objects, objects.memory.words(state, stacks.WORDS)) or 0
    found: dict[int, None] = {}
    while at and at not in found and len(found) < DEEPEST:
        found[at] = None
        at = objects.memory.word(at + objects.layout.frame_back) or 0
    return list(found)


def _ends(objects: PyObjects, chain: list[int]) -> tuple[Frame, ...]:
    inner = tuple(stacks.read(objects, chain[0])) if chain else ()
    left_out = len(chain) - 2 * MOST_FRAMES
    if left_out <= 0:
        return (*inner, *(stacks.read(objects, chain[MOST_FRAMES]) if len(chain) > MOST_FRAMES else ()))
    between = Frame(function=f"({left_out:,} frames left out)", file="", line=0, native=True)
    return (*inner, between, *stacks.read(objects, chain[-MOST_FRAMES]))
