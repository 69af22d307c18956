"""Kernel and service lines, written from their formats, and what becomes of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from diag.collectors.log_events import Dating, events, in_memory
from diag.crashes.book import Book
from diag.crashes.groups import group
from diag.model.snapshot import Snapshot

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent, CrashGroup
    from diag.model.facts import Gap

START = datetime(2026, 11, 11, 7, tzinfo=timezone.utc).timestamp()
MAP = " in libx.so[7f0000001000+2000]"
MYSQL = " in libmysqlclient.so.18.0.0[7f0000001000+2000]"
OTHER, MAIN = 0x7F24D3FFDC20, 0x7FFD12345678


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%b %e %H:%M:%S")


def kernel(text: str, at: float = START) -> str:
    return f"{stamp(at)} web-01 kernel: [{at - START + 1000:12.6f}] {text}"


def segfault(
    at: float = START, *, name: str = "app", tid: int = 77, address: int = 0x1B8, ip: int = 0x7F0000001010,
    sp: int = OTHER, error: int = 4, tail: str = MAP,
) -> str:  # fmt: skip
    return kernel(
        f"{name}[{tid}]: segfault at {address:x} ip {ip:016x} sp {sp:016x} error {error:x}{tail}", at
    )


def celery(at: float, pid: int = 500, signal: int = 11) -> str:
    when = datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S,000")
    return f"[{when}: ERROR/MainProcess] Process 'Worker-1' pid:{pid} exited with 'signal {signal} (SIGSEGV)'"


def read(*lines: str, name: str = "messages") -> list[CrashEvent]:
    hits = in_memory("\n".join(lines).encode())
    return list(events(name, hits, Dating(START + 86400, timezone.utc)))


def groups(*lines: str) -> tuple[CrashGroup, ...]:
    return group(read(*lines))


def snapshot(*lines: str, gaps: tuple[Gap, ...] = ()) -> Snapshot:
    found = read(*lines)
    return Snapshot(crashes=tuple(found), crash_groups=group(found), gaps=gaps)


def book(*logs: list[CrashEvent]) -> Book:
    kept = Book()
    for log in logs:
        for event in log:
            kept.add(event)
    return kept
