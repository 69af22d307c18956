"""From the lines that a search found to events with their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from diag.collectors import timestamps
from diag.collectors.crash_lines import NEEDLES, follows, parse_line
from diag.host.cut import cut
from diag.host.finder import finder_of
from diag.model.crash import LogLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

    from diag.host.records import Hit
    from diag.model.crash import CrashEvent


_GRACE = 86400.0  # seconds by which clocks may be wrong


class Dating(NamedTuple):
    """What it takes to turn a line's stamps into wall time."""

    reference: float  # when the source was last written, seconds since the epoch
    zone: tzinfo  # its own, where lines do not tell
    boot: float | None = None  # wall time of the kernel clock's zero, where it is this boot's


def events(name: str, hits: Iterable[Hit], dating: Dating) -> Iterator[CrashEvent]:
    """Parse the hits of one log, in order, with their time."""
    time = stamp = None
    for hit in hits:
        text = hit.text.decode("utf-8", "replace")
        event = parse_line(text, LogLine(file=name, line=hit.number), hit.after.decode("utf-8", "replace"))
        if event is None:
            continue
        if stamp is None or event.log_time != stamp or dating.boot is not None:
            time, stamp = _time(event, dating, time), event.log_time
        yield replace(event, time=time)


def of_batches(name: str, batches: Iterable[tuple[Hit, ...]], dating: Dating) -> Iterator[CrashEvent]:
    """Parse what a search yields."""
    return events(name, (hit for batch in batches for hit in batch), dating)


def in_memory(text: bytes) -> Iterator[Hit]:
    """Search a text that is in memory already."""
    for _, hit in cut(text, 0, 0, finder_of(NEEDLES).begins(text), len(text), follows).hits:
        yield replace(hit, number=hit.number + 1)


def _time(event: CrashEvent, dating: Dating, earlier: float | None) -> float | None:
    if dating.boot is not None and event.uptime:
        time = dating.boot + float(event.uptime)
        return time if time <= dating.reference + _GRACE else None  # not of this boot's clock
    stamp = timestamps.find(event.text)
    if stamp is None:
        return None
    return timestamps.epoch(stamp, reference=dating.reference, zone=dating.zone, earlier=earlier)
