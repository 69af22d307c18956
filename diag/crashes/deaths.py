"""Joins what several reporters say of one death: its parent, systemd, audit, the dying process itself."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from diag.model import fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.model.crash import CrashEvent

    Death: TypeAlias = list[CrashEvent]
    Shelf: TypeAlias = tuple[str, int | None, int]

_AT_ONCE = 5.0  # seconds in which all tell of it
_SAME_PID = 60.0  # seconds after which a process number is taken for another process's
_CROWD = 8  # deaths of one kind that are compared: a storm must not take quadratic time
_LINES = 3  # between two lines without time that tell of one death
_DUMP = 20_000  # lines that a dying process and busy siblings may write before its parent tells of it
_TRACEBACK = 50  # lines of one, at most
_DUMPING = frozenset({"go", "jvm", "node", "python-fatal", "ruby", "uwsgi-segv"})
_ABORTING = frozenset({"jvm", "ruby", "samba"})
"""Forms of those that catch a signal, write about it and then end with SIGABRT: so others tell of them."""


def deaths(reports: Iterable[CrashEvent]) -> list[Death]:
    """Join reports of one death: several forms, of the same process or at the same moment."""
    found: list[Death] = []
    shelves: dict[Shelf, list[Death]] = defaultdict(list)
    for report in reports:
        near = [death for shelf in _near(report) for death in shelves.get(shelf, ())[-_CROWD:]]
        death = next((one for one in reversed(near) if _one_death(one, report)), None)
        if death is None:
            death = []
            found.append(death)
        death.append(report)
        for shelf in _shelves(report):
            if not shelves[shelf] or shelves[shelf][-1] is not death:
                shelves[shelf].append(death)
    return found


def _shelves(report: CrashEvent) -> Iterator[Shelf]:
    """Under what a death is found again: the last ones, those of a process, those of a moment."""
    number = _ending(report)
    yield ("last", number, 0)
    yield ("any", None, 0)
    if report.pid is not None:  # whatever the signal: old uWSGIs do not tell it
        yield ("pid", None, report.pid)
    if report.time is not None:
        yield ("time", number, int(report.time / _AT_ONCE))


def _near(report: CrashEvent) -> Iterator[Shelf]:
    """Where to look for the death that a report tells of: a moment's beginning and end lie on two shelves."""
    for kind, number, place in _shelves(report):
        if kind == "any" and _ending(report) is not None:
            continue
        yield from ((kind, number, place + step) for step in ((-1, 0, 1) if kind == "time" else (0,)))


def _ending(report: CrashEvent) -> int | None:
    return 6 if report.form in _ABORTING else fault.signal(report)


def _one_death(death: Death, report: CrashEvent) -> bool:
    if len({_ending(report), *map(_ending, death)} - {None}) > 1:
        return False
    if report.form in {event.form for event in death}:
        return _goes_on(death[-1], report)
    latest = death[-1]
    apart = abs(latest.time - report.time) if latest.time is not None and report.time is not None else None
    pids = {event.pid for event in death if event.pid is not None}
    if report.pid is not None and pids:
        return report.pid in pids and (apart is None or apart <= _SAME_PID)
    if apart is None:
        between = report.at.line - latest.at.line
        reach = _DUMP if latest.form in _DUMPING else _LINES
        return latest.at.file == report.at.file and 0 <= between <= reach
    return apart <= _AT_ONCE


def _goes_on(record: CrashEvent, report: CrashEvent) -> bool:
    """Whether an undated line ends the traceback below a dated record, which has told of the death itself."""
    lines = report.at.line - record.at.line
    undated = report.time is None and report.pid is None and record.time is not None
    return undated and report.at.file == record.at.file and 0 < lines <= _TRACEBACK
