"""With what a crash began: the packages or the kernel that were changed shortly before its first time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.model.crash import Change, CrashGroup

LEAST = 3
"""Crashes of a kind: less often, nothing can be said of when it began."""

_MISSED = 3.0
"""Intervals without a crash before the change, as the logs show, that make it a beginning."""

_SHORTEST = 3600.0  # seconds looked back from the first crash, at least


def began(group: CrashGroup, changes: Sequence[Change], covered: float | None) -> Change | None:
    """Return the change after which a group began; None where that cannot be told.

    ``covered`` is how far the logs reach back, in seconds since the epoch: only where they were silent
    for several intervals before the change is there a beginning.
    """
    if group.count < LEAST or group.first is None or group.last is None or covered is None:
        return None
    interval = (group.last - group.first) / (group.count - 1)
    near = max(1.5 * interval, _SHORTEST)
    before = [
        change
        for change in changes
        if change.time <= group.first <= change.time + near and covered <= change.time - _MISSED * interval
    ]
    own = [change for change in before if _belongs(change, group)]
    return max(own or before, key=lambda change: change.time, default=None)


def _belongs(change: Change, group: CrashGroup) -> bool:
    """Whether a package is likely to hold the library or the program that crashes, by its name."""
    stem = re.sub(r"\.so\b.*|-[\d.]+.*", "", group.library or group.program or "")
    short = stem.removeprefix("lib")
    return (len(stem) >= 4 and stem in change.name) or (len(short) >= 3 and short in change.name)
