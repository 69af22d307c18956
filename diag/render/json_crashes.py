"""The crashes of ``diag segfaults`` as JSON, version 1: events as lines tell them, and their groups."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from diag.model import core_file, fault
from diag.model.mangled import readable

if TYPE_CHECKING:
    from diag.model.code import CodePlace
    from diag.model.crash import CrashEvent, CrashGroup, DumpedThread, LogLine
    from diag.model.instruction import Instruction
    from diag.model.snapshot import Snapshot

Json = dict[str, Any]

# As printed: hexadecimal numbers stay texts, ``error`` is decoded.
_FIELDS = (
    "program", "pid", "signal", "address", "ip", "sp", "error", "error_raw", "trap",
    "library", "map_base", "map_size", "map_offset", "uptime", "log_time",
)  # fmt: skip


def view(snapshot: Snapshot) -> Json:
    """Return what logs told, before and after grouping."""
    return {
        # Encoded one by one: the dictionaries of 50,000 events would take several hundred megabytes.
        "events": [msgspec.Raw(msgspec.json.encode(event_facts(event))) for event in snapshot.crashes],
        "groups": [
            {
                **group_facts(group),
                "cores": [file.path for file in core_file.of_group(group, snapshot.core_files)],
            }
            for group in snapshot.crash_groups
        ],
    }


def event_facts(event: CrashEvent) -> Json:
    """Return what one line told, and what its numbers mean."""
    told: Json = {
        "at": _line(event.at),
        "kind": event.kind,
        "form": event.form,
        "role": event.role.value,
        "time": _time(event.time),
        "also": [_line(line) for line in event.also],
    }
    for name in _FIELDS:
        if (value := getattr(event, name)) is not None:
            told[name] = value
    told.update({name: value for name, value in event.details if name not in told})
    told["written_by"] = event.tag
    if event.threads:
        told["threads"] = [_thread(thread) for thread in event.threads]
    told["decoded"] = {
        "access": fault.access(event),
        "null_offset": event.null_offset,
        "thread": fault.thread(event),
        "jump": event.jumped,
        "inside": event.inside,
        "offset": event.offset,
        "page": fault.page(event),
        "mapped": fault.mapped(event),
    }
    return told


def _thread(thread: DumpedThread) -> Json:
    frames = [{"function": one.function, "file": one.file, "line": one.line} for one in thread.frames]
    return {"ident": thread.ident, "name": thread.name, "current": thread.current, "frames": frames}


def group_facts(group: CrashGroup) -> Json:
    """Return one kind of crash, however often it came."""
    sample = group.sample
    return {
        "program": group.program,
        "kind": group.kind,
        "library": group.library,
        "offset": group.offset,
        "symbol": group.symbol,
        "code": _code(group.code),
        "count": group.count,
        "first": _time(group.first),
        "last": _time(group.last),
        "period": group.period,
        "began": group.began and {"with": group.began.what, "at": _line(group.began.at)},
        "signal": fault.signal(sample),
        "access": fault.access(sample),
        "null_offset": sample.null_offset,
        "thread": fault.thread(sample),
        "what": fault.what(sample),
        "events": [_line(event.at) for event in group.events],
        "reports": [_line(event.at) for event in group.reports],
        "limits": [_line(event.at) for event in group.limits],
    }


def _code(place: CodePlace | None) -> Json | None:
    """Return what the file tells; null where it was not looked for."""
    if place is None:
        return None
    line = place.line
    return {
        "path": place.path,
        "build_id": place.build_id,
        "proven": place.proven,
        "address": place.address,
        "instruction": _instruction(place.instruction),
        "symbol": place.symbol.name if place.symbol else None,
        "name": readable(place.symbol.name) if place.symbol else None,
        "symbol_offset": place.within,
        "table": place.symbol.table if place.symbol else None,
        "file": line.file if line else None,
        "line": line.line if line else None,
        "function": line.function if line else None,
        "inlined_into": list(line.inlined_into) if line else [],
        "replaced": place.replaced,
        "trouble": place.trouble,
    }


def _instruction(found: Instruction | None) -> Json | None:
    if found is None:
        return None
    return {"text": found.text, "words": found.words, "source": found.source}


def _line(line: LogLine) -> Json:
    return {"file": line.file, "line": line.line}


def _time(epoch: float | None) -> str | None:
    if epoch is None:
        return None
    return datetime.fromtimestamp(epoch, timezone.utc).isoformat(timespec="milliseconds")
