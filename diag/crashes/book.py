"""Collects events from several logs; the same event in two of them counts once."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.crashes.groups import Key, identity
from diag.model.crash import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.model.crash import CrashEvent

FIRST, LAST = 40_000, 10_000
"""Events kept in full: the first and the newest. Those between are only counted, so that memory stays
bounded; what two logs both tell after the first ones may count twice."""

FIRST_SIZE, LAST_SIZE = 48 << 20, 12 << 20
"""Bytes of text that they may have, about: of lines as long as a line may be, so many would be gigabytes."""

KINDS = 10_000
"""Kinds of crash of which those between are counted, each for itself."""

_CROWD = 64  # equal events of one moment that are compared: a storm must not take quadratic time
_SAME_TIME = 2.0  # seconds two stamps of one event may differ: the logger's clock, and its delay
_SAME_BOOT = 0.002  # seconds on the kernel's own clock


class Book:
    """All events of a run."""

    def __init__(self) -> None:
        self._first: list[CrashEvent] = []
        self._last: deque[CrashEvent] = deque()
        self._files: set[str] = set()  # in which the first ones stand
        self._room, self._last_size = FIRST_SIZE, 0
        self._places: dict[Key, list[int]] = defaultdict(list)  # by each of ``_shelves``
        self.left_out: Counter[Key] = Counter()

    @property
    def events(self) -> tuple[CrashEvent, ...]:
        """All events that were kept, in the order in which logs were read."""
        return (*self._first, *self._last)

    @property
    def kept(self) -> tuple[int, int]:
        """How many of the first events and of the newest ones were kept."""
        return len(self._first), len(self._last)

    def add(self, event: CrashEvent) -> bool:
        """Take an event in, or note that another log has it already; tell whether it is new."""
        if not self._files <= {event.at.file} and self._known(event):
            return False
        if len(self._first) < FIRST and self._room > 0:
            self._keep(event)
            return True
        self._last.append(event)
        self._last_size += _size(event)
        while len(self._last) > LAST or (self._last_size > LAST_SIZE and len(self._last) > 1):
            self._leave_out(self._last.popleft())
        return True

    def _known(self, event: CrashEvent) -> bool:
        """Whether another log tells of the same event; if so, that one is told to have it too."""
        for place in self._candidates(event, _key(event)):
            known = self._first[place]
            if _same(known, event):
                self._first[place] = replace(
                    known,
                    also=(*known.also, event.at),
                    time=known.time if known.time is not None else event.time,
                    uptime=known.uptime or event.uptime,
                )
                return True
        return False

    def _keep(self, event: CrashEvent) -> None:
        self._room -= _size(event)
        self._files.add(event.at.file)
        for shelf in _shelves(event, _key(event)):
            self._places[shelf].append(len(self._first))
        self._first.append(event)

    def _leave_out(self, event: CrashEvent) -> None:
        self._last_size -= _size(event)
        kind = identity(event) if event.role is Role.CRASH else ()
        self.left_out[kind if kind in self.left_out or len(self.left_out) < KINDS else ()] += 1

    def _candidates(self, event: CrashEvent, key: Key) -> Iterator[int]:
        """List where equal events of about the same time are, each clock for itself."""
        if (key, "any", 0) not in self._places:
            return
        shelves = [
            (key, kind, beat + near)
            for _, kind, beat in _shelves(event, key)
            if kind not in {"any", "undated"}
            for near in (-1, 0, 1)
        ]
        if event.pid is not None:  # where one of two has no time, the numbers tell
            shelves.append((key, "any" if event.time is None else "undated", 0))
        for shelf in shelves:
            yield from self._places.get(shelf, ())[:_CROWD]


def _size(event: CrashEvent) -> int:
    """About how many bytes an event's texts have; of a traceback, its frames."""
    told = sum(sys.getsizeof(value) for _, value in event.details)
    return sys.getsizeof(event.text) + told + 300 * sum(1 + len(thread.frames) for thread in event.threads)


def _shelves(event: CrashEvent, key: Key) -> Iterator[tuple[Key, str, int]]:
    """Under what an event is found again: the time, the kernel's clock, or that it has none."""
    if event.time is not None:
        yield key, "time", int(event.time / (2 * _SAME_TIME))
    else:
        yield key, "undated", 0
    if event.uptime:
        yield key, "clock", int(float(event.uptime))
    yield key, "any", 0


def _key(event: CrashEvent) -> Key:
    return (
        event.kind, event.form, event.program, event.pid, event.signal,
        event.number("address"), event.number("ip"), event.number("sp"), event.details,
    )  # fmt: skip


def _same(known: CrashEvent, event: CrashEvent) -> bool:
    """Whether two equal lines tell of one event: they stand in different logs, at the same time."""
    if event.at.file in {known.at.file, *(at.file for at in known.also)}:
        return False
    if known.uptime and event.uptime:
        return abs(float(known.uptime) - float(event.uptime)) <= _SAME_BOOT
    if known.time is not None and event.time is not None:
        return abs(known.time - event.time) <= _SAME_TIME
    return known.pid is not None  # a thread id, an address and a stack pointer do not meet twice
