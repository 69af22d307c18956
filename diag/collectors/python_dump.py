"""The traceback of all threads that faulthandler and Python's fatal errors write.

Modules/faulthandler.c and Python/traceback.c, 3.3 to 3.15; other loggers may put a prefix before each line.
"""

from __future__ import annotations

import re

from diag.model.crash import DumpedThread
from diag.model.facts import Frame

_THREAD = re.compile(
    r"\b(?P<current>Current thread|Thread) 0x(?P<ident>[0-9a-f]+)(?: \[(?P<name>.*?)\])? ?\(most"
)
_C_STACK = re.compile(r"\bC stack trace \(most recent call first\)")
_FRAME = re.compile(r'  File "(?P<file>.*?)", line (?P<line>\d+|\?\?\?)(?: in (?P<function>.*))?$')
_NATIVE = re.compile(r'  Binary file "(?P<file>.*?)"(?:, at (?P<function>[^\s\[]*))?')
_MODULES = re.compile(r"Extension modules?: (?P<names>.+?)(?: \(total: \d+\))?$")
_KNOWN = re.compile(
    r"Python runtime state|<no Python frame>|^\W*$|  \.\.\.$|<truncated|Garbage-collecting|<cannot"
)

MOST_THREADS, MOST_FRAMES = 200, 100
_LONGEST = 2000  # characters of a line that are looked at
_FOREIGN = 3  # lines of others in a row that may stand between: a log has several writers
_NEXT = "Fatal Python error: "  # another process's dump


def parse(text: str) -> tuple[tuple[DumpedThread, ...], str | None]:
    """Read the threads, current one first as printed, and the names of loaded extension modules."""
    threads: list[DumpedThread] = []
    frames: list[Frame] = []
    head: re.Match[str] | None = None
    modules = None
    foreign = 0

    def close() -> None:
        if head is not None and len(threads) < MOST_THREADS:
            threads.append(
                DumpedThread(
                    ident=head["ident"],
                    name=head["name"],
                    current=head["current"] != "Thread",
                    frames=tuple(frames[:MOST_FRAMES]),
                )
            )
        frames.clear()

    for whole in text.split("\n"):
        line = whole[:_LONGEST]
        if _NEXT in line:
            break
        if found := _THREAD.search(line):
            close()
            head, foreign = found, 0
        elif frame := _FRAME.search(line):
            number, foreign = frame["line"], 0
            frames.append(
                Frame(
                    function=frame["function"] or "?",
                    file=frame["file"],
                    line=int(number[:9]) if number.isdigit() else 0,
                )
            )
        elif (found := _MODULES.search(line)) is not None:
            modules = found["names"][:4000]
            break
        elif not (_C_STACK.search(line) or _NATIVE.search(line) or _KNOWN.search(line)):
            foreign += 1
            if foreign > _FOREIGN:
                break
    close()
    return tuple(threads), modules
