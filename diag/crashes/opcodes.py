"""Gives the bytes around a fault, which the kernel prints on a line of their own, to their crash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from diag.model.crash import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.model.crash import CrashEvent, LogLine

_NEAR = 20  # lines of the log
_SOON = 0.05  # seconds of the kernel's clock
_BYTES = re.compile(r"(?:<[0-9a-f]{2}>|[0-9a-f]{2})(?: (?:<[0-9a-f]{2}>|[0-9a-f]{2}))*")


class Opcodes(NamedTuple):
    """Code bytes, and which of them is the first of the instruction that faulted."""

    data: bytes
    at: int
    line: LogLine

    @property
    def rest(self) -> bytes:
        """The instruction, and what follows it."""
        return self.data[self.at :]


def of_crashes(events: Iterable[CrashEvent]) -> dict[LogLine, Opcodes]:
    """Give ``Code:`` lines to the crash lines before them (show_opcodes() of arch/x86).

    Both are printed by the thread that faulted, one after the other. Where two threads fault at once,
    nobody can tell whose bytes they are: then nobody gets them.
    """
    found: dict[LogLine, Opcodes] = {}
    waiting: list[CrashEvent] = []
    for event in events:
        # Traps have no such line.
        if event.role is Role.CRASH and event.kind in {"x86-segfault", "truncated"}:
            waiting.append(event)
        elif event.kind == "code" and event.form == "opcode":
            waiting = [crash for crash in waiting if _near(crash, event)]
            told = parse(str(event.detail("code") or ""), event.at)
            if len(waiting) == 1 and told:
                found[waiting[0].at] = told
            waiting = []
    return found


def _near(crash: CrashEvent, code: CrashEvent) -> bool:
    if crash.at.file != code.at.file or not 0 < code.at.line - crash.at.line <= _NEAR:
        return False
    if crash.uptime and code.uptime:
        return 0 <= float(code.uptime) - float(crash.uptime) <= _SOON
    return True


def parse(text: str, line: LogLine) -> Opcodes | None:
    """Parse ``48 8b <8b> 80``; None for another form (words of 32 bits, other architectures)."""
    if not _BYTES.fullmatch(text.strip()):
        return None
    words = text.split()
    marks = [place for place, word in enumerate(words) if word[0] == "<"]
    if len(marks) != 1:
        return None
    return Opcodes(bytes(int(word.strip("<>"), 16) for word in words), marks[0], line)
