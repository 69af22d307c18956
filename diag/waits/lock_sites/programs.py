"""Loops that start a program, sleep, and start it again: ``while call(["flock", "-n", PATH]): sleep(1)``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.waits.lock_sites.polling import LOOPS
from diag.waits.lock_sites.syntax import locate
from diag.waits.lock_sites.words import calls, says_pause

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.model.facts import Stack
    from diag.model.source import Source

_REACH = 8
"""Frames between the sleep and the loop."""
_STARTS = frozenset({"call", "run", "check_call", "check_output", "Popen", "system", "getstatusoutput"})
"""What subprocess and os call it."""


def restarted(stack: Stack, sources: Mapping[str, Source]) -> Iterator[str]:
    """Yield what programs are started with, as text of the source and of variables, around a sleep."""
    frames = [frame for frame in stack.frames if not frame.native][:_REACH]
    for number, frame in enumerate(frames):
        position = locate(frame, sources.get(frame.file))
        if position is None:
            if number or not says_pause(frame.function.rpartition(".")[2]):
                return
            continue
        for step in position.steps:
            if step.statement.type not in LOOPS:
                continue
            for call in calls(step.statement):
                if call.name in _STARTS:
                    words = set(re.findall(r"\w+", call.arguments))
                    yield call.arguments
                    yield from (local.value for local in frame.locals if local.name in words)
