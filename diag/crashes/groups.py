"""Groups events: the same crash however often it came, with what services said of it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from datetime import timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from msgspec.structs import replace

from diag.crashes import sacrifices
from diag.crashes.deaths import deaths
from diag.crashes.limits import Limits
from diag.crashes.period import period
from diag.model import fault
from diag.model.crash import CrashEvent, CrashGroup, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

BEFORE, AFTER = 2.0, 15.0
"""Seconds in which a parent reports a death: clocks differ a little; celery looks every 5 s."""
_CROWD = 50  # crashes before and after a report that may be its own: a storm must not take quadratic time
_TICK = 5.0  # seconds after which a parent notices a death
_UNITS = frozenset({"supervisord"})  # what they call a program is the name of a service
_TORN = 20  # lines within which the rest of a torn line is looked for

Key: TypeAlias = tuple[object, ...]


def group(
    events: Sequence[CrashEvent],
    zone: tzinfo = timezone.utc,
    left_out: Mapping[Key, int] = MappingProxyType({}),
) -> tuple[CrashGroup, ...]:
    """Group crashes, most frequent first; ``zone`` is the one in which times are named.

    ``left_out`` counts crashes that were not kept, by their ``identity``.
    """
    whole = sacrifices.told(mend(events))
    crashes = [event for event in whole if event.role is Role.CRASH]
    reports = deaths([event for event in whole if event.role is Role.REPORT])
    told, alone = _join(crashes, reports)
    found: dict[Key, list[tuple[CrashEvent, list[CrashEvent]]]] = defaultdict(list)
    for place, crash in enumerate(crashes):
        found[identity(crash)].append((crash, told[place]))
    said = Limits(event for event in whole if event.kind == "limit" or event.form == "gunicorn-timeout")
    limits: dict[Key, dict[CrashEvent, None]] = defaultdict(dict)
    for death in alone:
        why = said.of(death)
        key = (*_report_key(death), why[0].form if why else None)
        found[key].append((death[0], death[1:]))
        limits[key].update(dict.fromkeys(why))
    groups = [
        replace(_group(members, zone, left_out.get(key, 0)), limits=tuple(limits[key]))
        for key, members in found.items()
    ]
    return tuple(sorted(groups, key=lambda one: (-one.count, one.first or 0.0, one.program or "")))


def mend(events: Sequence[CrashEvent]) -> list[CrashEvent]:
    """Give torn kernel lines their rest back, which stands on a line of its own.

    Two threads that fault at once tear each other's lines; a rest belongs to the latest line
    without a mapping whose ip lies within it.
    """
    whole: list[CrashEvent] = []
    for event in events:
        if event.form != "rest" or event.map_base is None:
            whole.append(event)
            continue
        for place in range(len(whole) - 1, max(-1, len(whole) - 1 - _TORN), -1):
            torn = whole[place]
            if torn.role is not Role.CRASH or torn.map_base or torn.at.file != event.at.file:
                continue
            mended = replace(
                torn,
                library=event.library,
                map_base=event.map_base,
                map_size=event.map_size,
                map_offset=event.map_offset,
            )
            if mended.inside:
                whole[place] = mended
                break
    return _placed(whole)


def _placed(events: list[CrashEvent]) -> list[CrashEvent]:
    """Name the library where the kernel could not: it gives up when the map is being changed.

    Another line of the same program tells it, where ip lies within the mapping printed there: threads
    of one process and workers forked from one parent have the same layout, others hardly ever.
    """
    known: dict[tuple[str | None, str], dict[tuple[int, int], CrashEvent]] = defaultdict(dict)
    for event in events:
        base, size = event.number("map_base"), event.number("map_size")
        if event.role is Role.CRASH and event.inside and base is not None and size is not None:
            known[event.program, event.at.file][base, size] = event
    return [_place(event, known.get((event.program, event.at.file), {})) for event in events]


def _place(event: CrashEvent, known: dict[tuple[int, int], CrashEvent]) -> CrashEvent:
    ip = event.number("ip")
    if event.role is not Role.CRASH or event.map_base or event.jumped or ip is None:
        return event
    for (base, size), other in known.items():
        start = other.number("map_offset")
        if base <= ip < base + size:
            here = None if start is None else f"{start - (other.number('ip') or 0) + ip:x}"
            return replace(
                event,
                library=other.library,
                map_base=other.map_base,
                map_size=other.map_size,
                map_offset=here,
            )
    return event


def _join(
    crashes: list[CrashEvent], deaths: list[list[CrashEvent]]
) -> tuple[dict[int, list[CrashEvent]], list[list[CrashEvent]]]:
    """Give each death to the kernel's line of it: by number, or by time where numbers differ.

    The kernel prints the thread's number; its parent knows the process's.
    """
    told: dict[int, list[CrashEvent]] = defaultdict(list)
    alone = []
    dated = sorted((crash.time, place) for place, crash in enumerate(crashes) if crash.time is not None)
    numbered: dict[int | None, list[int]] = defaultdict(list)
    for place, crash in enumerate(crashes):
        numbered[crash.pid].append(place)
    undated = [place for place, crash in enumerate(crashes) if crash.time is None and not crash.uptime]
    undated = undated[:_CROWD]
    untold: dict[str, list[tuple[float, int]]] = {}  # by form: crashes that no such line told of yet
    for death in deaths:
        near = {place for event in death if event.pid for place in numbered.get(event.pid, ())}
        if when := min((event.time for event in death if event.time is not None), default=None):
            open_ones = untold.setdefault(death[0].form, list(dated))
            here = bisect_left(open_ones, (when, -1))
            first = max(here - _CROWD, bisect_left(open_ones, (when - AFTER, -1)))
            last = min(here + _CROWD, bisect_left(open_ones, (when + BEFORE, -1)))
            near |= {place for _, place in open_ones[first:last]}
        else:  # lines that somebody put into one file without their time
            files = {event.at.file for event in death}
            near.update(place for place in undated if crashes[place].at.file in files)
        best = min(
            (place for place in sorted(near) if _may_be(crashes[place], death, told[place])),
            key=lambda place: _distance(crashes[place], death),
            default=None,
        )
        if best is None:
            alone.append(death)
        else:
            told[best].extend(death)
            for form in {event.form for event in death}:
                _take(untold.setdefault(form, list(dated)), (crashes[best].time or 0.0, best))
    return told, alone


def _take(dated: list[tuple[float, int]], one: tuple[float, int]) -> None:
    place = bisect_left(dated, one)
    if dated[place : place + 1] == [one]:
        del dated[place]


def _may_be(crash: CrashEvent, death: list[CrashEvent], taken: list[CrashEvent]) -> bool:
    numbers = {fault.signal(event) for event in death} - {None, 6}
    if numbers and fault.signal(crash) not in numbers:
        return False
    if {event.form for event in taken} & {event.form for event in death}:
        return False  # its parent told of it already
    same = any(event.pid is not None and event.pid == crash.pid for event in death)
    if not same and any(event.form in fault.CAUGHT for event in death):
        return False
    names = [event.program for event in death if event.program and event.form not in _UNITS]
    if names and not same and not any(_alike(name, crash.program) for name in names):
        return False
    times = [event.time for event in death if event.time is not None]
    if crash.time is None and not times:
        return same or crash.at.file == death[0].at.file
    if crash.time is None or not times:
        return same
    return -BEFORE <= min(times) - crash.time <= AFTER


def _alike(name: str, comm: str | None) -> bool:
    return comm is not None and (name[:15] == comm or name.startswith(comm) or comm.startswith(name))


def _distance(crash: CrashEvent, death: list[CrashEvent]) -> tuple[bool, float]:
    times = [event.time for event in death if event.time is not None]
    late = abs(min(times) - crash.time) if times and crash.time is not None else 0.0
    return not any(event.pid == crash.pid for event in death), late


def identity(event: CrashEvent) -> Key:
    """What makes two crashes the same: who, where in which code, and how."""
    if event.jumped and not event.inside:
        low = event.number("address")
        return (event.program, "jump", low if low is not None and low < 4096 else None)
    if event.inside or event.library:
        return (event.program, event.library, event.offset, event.trap)
    if event.kind == "oom":
        return (event.program, "oom", event.detail("cgroup"))
    return (event.program, event.kind, event.null_offset, event.trap, fault.signal(event))


def _report_key(death: list[CrashEvent]) -> Key:
    first = death[0]
    name = next((event.program for event in death if event.program), None)
    text = first.detail("error_text")
    unit = first.detail("unit")
    return (first.kind, first.form, name or unit, _normal(text), fault.signal(first))


def _normal(text: object) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+", "#", str(text))


def _one_boot(events: Sequence[CrashEvent]) -> list[float]:
    """Return the kernel's own times of crashes; nothing where they may be of several boots."""
    clock = [float(event.uptime) for event in events if event.uptime]
    files = {event.at.file for event in events}
    return clock if len(files) == 1 and clock == sorted(clock) else []


def _group(members: list[tuple[CrashEvent, list[CrashEvent]]], zone: tzinfo, left_out: int) -> CrashGroup:
    events = [event for event, _ in members]
    reports = [report for _, told in members for report in told]
    sample = events[0]
    times = [event.time for event in events if event.time is not None]
    clock = times or _one_boot(events)
    names = [event.program for event in (*events, *reports) if event.program]
    return CrashGroup(
        program=names[0] if names else None,
        kind=sample.kind,
        library=sample.library if sample.inside or sample.role is Role.REPORT else None,
        offset=sample.offset,
        count=len(events) + left_out,
        first=min(times, default=None),
        last=max(times, default=None),
        period=period(clock, zone if times else None, _TICK if sample.role is Role.REPORT else 0.0),
        events=tuple(events),
        reports=tuple(reports),
        left_out=left_out,
    )
