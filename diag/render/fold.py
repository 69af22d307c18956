"""Folds what repeats: threads that stand at the same lines, and frames of a recursion. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from diag.model.facts import Frame
    from diag.model.snapshot import SeenThread

LONGEST_CYCLE = 12
"""Frames in one round of a recursion that is still recognised."""
LEAST_SAVED = 4
"""Frames that folding must save to be worth a line of its own."""

_BOOTSTRAP = ("run", "bootstrap", "bootstrap_inner", "Thread__bootstrap", "Thread__bootstrap_inner")

_ORDER = {"blocked": 0, "polling": 1, "running": 2, "timed": 3, "idle": 4}


class Run(NamedTuple):
    """Some frames, and how many times in a row they came."""

    frames: tuple[Frame, ...]
    times: int


def alike(threads: Iterable[SeenThread]) -> list[tuple[SeenThread, ...]]:
    """Group threads with the same stack and kind of wait, across processes; the stuck ones first."""
    groups: dict[object, list[SeenThread]] = {}
    for seen in threads:
        groups.setdefault(_key(seen), []).append(seen)
    return sorted(map(tuple, groups.values()), key=lambda group: _ORDER[_how(group[0])])


def _key(seen: SeenThread) -> object:
    lines = tuple(map(_line, seen.stack.frames)) if seen.stack else ()
    wait = seen.wait
    return (
        lines or (wait and wait.words),
        seen.process.kernel,
        wait and wait.resource.kind,
        _how(seen),
        seen.moved,
        bool(seen.stack and seen.stack.owns_gil),
    )


def _how(seen: SeenThread) -> str:
    return seen.wait.how.value if seen.wait else "idle"


def _line(frame: Frame) -> tuple[str, str, int]:
    return (frame.function, frame.file, frame.line)


def without_bootstrap(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Leave out the outermost frames with which every thread begins, unless there is nothing else."""
    kept = list(frames)
    while kept and kept[-1].file.endswith("/threading.py") and not kept[-1].locals:
        if kept[-1].function.rpartition(".")[2].lstrip("_") not in _BOOTSTRAP:
            break
        kept.pop()
    return tuple(kept or frames)


def runs(frames: Sequence[Frame]) -> list[Run]:
    """Fold consecutive repeats of up to ``LONGEST_CYCLE`` frames; frames with shown locals stay apart."""
    lines = [(*_line(frame), frame.locals) for frame in frames]
    found: list[Run] = []
    at = 0
    while at < len(frames):
        size, times = _repeat(lines, at)
        if size * (times - 1) < LEAST_SAVED:
            size, times = 1, 1
        found.append(Run(tuple(frames[at : at + size]), times))
        at += size * times
    return found


def _repeat(lines: Sequence[object], at: int) -> tuple[int, int]:
    """Find the cycle that begins at ``at`` and covers most: its length, and how often it comes."""
    best = (1, 1)
    for size in range(1, LONGEST_CYCLE + 1):
        cycle, times = lines[at : at + size], 1
        while lines[at + size * times : at + size * (times + 1)] == cycle:
            times += 1
        if times > 1 and size * times > best[0] * best[1]:
            best = (size, times)
    return best
