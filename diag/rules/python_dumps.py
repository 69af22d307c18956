"""What a dying interpreter wrote of its threads (faulthandler), and what that points to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashEvent, CrashGroup, DumpedThread
    from diag.model.facts import Frame

# Python packages around C clients that allow one thread at a time per connection: their own functions are
# the last Python code on a stack of which the client's C code is the end.
_CLIENTS = re.compile(r"/(?P<package>MySQLdb|mariadb|mysql/connector)/")
_STANDARD = re.compile(r"/python\d[.\d]*/(?!site-packages|dist-packages)")
_INSTALLED = re.compile(r"/(?:site|dist)-packages/")
_SIGNALS = frozenset({6, 7, 11})


def current(group: CrashGroup) -> DumpedThread | None:
    """Return the thread that ran Python when the process died, of the first dump that tells."""
    return next(_current(group), None)


def in_client(group: CrashGroup) -> DumpedThread | None:
    """Return the thread that died in a function of a database client's package, if one did."""
    if group.sample.signal not in _SIGNALS:
        return None
    return next((one for one in _current(group) if _CLIENTS.search(one.frames[0].file)), None)


def path(died: DumpedThread) -> str:
    """Say where a thread was, and from where in the program's own code: ``get (db.py:12), called from f``."""
    inner = died.frames[0]
    own = [frame for frame in died.frames if not _STANDARD.search(frame.file)]
    program = next((frame for frame in own if not _INSTALLED.search(frame.file)), own[0] if own else inner)
    return _place(inner) + ("" if program is inner else f", called from {_place(program)}")


def _place(frame: Frame) -> str:
    return f"{frame.function} ({frame.file}:{frame.line})"


def package(died: DumpedThread) -> str:
    """Name the package that a thread of ``in_client`` was in."""
    found = _CLIENTS.search(died.frames[0].file)
    return found["package"].replace("/", ".") if found else died.frames[0].file


def thread(event: CrashEvent) -> str | None:
    """Tell which thread died: ``main`` or ``other``; None where the dump does not tell.

    Threads are written newest first (Python/traceback.c, _Py_DumpTracebackThreads): the last is the main one.
    """
    died = [place for place, one in enumerate(event.threads) if one.current]
    if len(died) != 1 or len(event.threads) < 2:
        return None
    return "main" if died[0] == len(event.threads) - 1 else "other"


def _current(group: CrashGroup) -> Iterator[DumpedThread]:
    for event in (*group.events, *group.reports):
        yield from (one for one in event.threads if one.current and one.frames)
