"""Tells a thread that did something between two samples from one that did not."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.investigate.stacks import Sample
    from diag.model.facts import Stack, Thread

    ThreadId = tuple[int, int]


def moved(taken: Sequence[Sample], key: ThreadId) -> bool:
    """Whether a thread did anything between any two samples.

    Its counters are compared from the end of one look to the beginning of the next: py-spy, which
    stops it in between, would make it look alive.
    """
    return any(_moved(before, after, key) for before, after in pairwise(taken))


def _moved(before: Sample, after: Sample, key: ThreadId) -> bool:
    earlier, later = before.after.get(key), after.threads.get(key)
    if earlier is None or later is None or _did_something(earlier, later):
        return True
    return _lines(before.stacks.get(key)) != _lines(after.stacks.get(key))


def _did_something(earlier: Thread, later: Thread) -> bool:
    return (earlier.voluntary, earlier.involuntary, earlier.cpu) != (
        later.voluntary,
        later.involuntary,
        later.cpu,
    )


def _lines(stack: Stack | None) -> tuple[tuple[str, str, int], ...]:
    return tuple((frame.function, frame.file, frame.line) for frame in stack.frames) if stack else ()
