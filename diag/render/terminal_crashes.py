"""The crashes section of the terminal report: one block a group, with a small time line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from diag.model import core_file, fault
from diag.model.crash import Role
from diag.render.escape import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.code import CodePlace
    from diag.model.core_file import CoreFile
    from diag.model.crash import CrashEvent, CrashGroup
    from diag.model.snapshot import Snapshot

MOST = 10
"""Groups shown (all of them with -v)."""

_FRAMES = 5  # of the traceback that Python itself wrote
_WIDTH = 40  # cells of a time line
_BARS = " ▁▂▃▄▅▆▇█"


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield what to show of the crashes; ``now`` is the time of the look, in seconds since the epoch."""
    del now
    groups = snapshot.crash_groups
    shown = groups if verbose else groups[:MOST]
    for group in shown:
        yield _title(group)
        yield _facts(group, verbose=verbose)
        yield from _cores(core_file.of_group(group, snapshot.core_files), verbose=verbose)
    if len(groups) > len(shown):
        yield Text(f"and {len(groups) - len(shown)} more kinds of crash (-v)", style="dim")
    if not groups:
        yield Text("no crash in the logs that were read")
    others = [event for event in snapshot.crashes if event.role is Role.CONTEXT and event.kind == "hung-task"]
    if others:
        yield Text(f"{len(others)} lines tell of hung tasks or stuck processors", style="yellow")
        for event in others if verbose else others[:3]:
            yield Text(f"  {plain(str(event.at))}  {plain(event.text.strip())}", style="dim")


def _title(group: CrashGroup) -> Text:
    name = group.program or str(group.sample.detail("unit") or group.sample.form)
    title = Text(f"{plain(name)}  {group.count}x", style="bold")
    place = fault.place(group) if group.sample.role is Role.CRASH and group.kind != "oom" else ""
    return title.append(f"  {plain(place)}", style="cyan")


def _cores(files: tuple[CoreFile, ...], *, verbose: bool) -> Iterator[Text]:
    """Name the command that looks into the newest core of a crash."""
    for file in files if verbose else files[:1]:
        more = f"   (and {len(files) - 1} more)" if len(files) > 1 and not verbose else ""
        yield Text(f"   core      diag core {plain(file.path)}{more}")


def _facts(group: CrashGroup, *, verbose: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=2)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _rows(group):
        grid.add_row("", name, Text(plain(value)))
    lines = [*group.events, *group.reports] if verbose else [group.events[-1]]
    for event in lines:
        grid.add_row("", "log", Text(f"{plain(str(event.at))}  {plain(event.text.strip())}", style="dim"))
    return grid


def _rows(group: CrashGroup) -> Iterator[tuple[str, str]]:
    sample = group.sample
    yield "what", fault.what(sample)
    yield from _code(group.code)
    if thread := fault.thread(sample):
        yield (
            "thread",
            "the main thread" if thread == "main" else "not the main thread (from its stack pointer)",
        )
    yield from _python(group)
    if group.first is not None and group.last is not None:
        span = _when(group.first) if group.count == 1 else f"{_when(group.first)} to {_when(group.last)}"
        yield "when", f"{span}{f', {group.period}' if group.period else ''}"
        if group.count > 2 and group.last > group.first:
            yield "time line", _line(group.events, group.first, group.last)
        if group.began:
            yield "began", f"after {group.began.what} at {_when(group.began.time)} ({group.began.at})"
    elif group.period:
        yield "when", f"{group.period} (by the kernel's clock; no date in the log)"


def _python(group: CrashGroup) -> Iterator[tuple[str, str]]:
    """Show the top of the traceback that the interpreter itself wrote as it died."""
    threads = [thread for event in (*group.events, *group.reports) for thread in event.threads]
    current = next((thread for thread in threads if thread.current), None)
    for place, frame in enumerate(current.frames[:_FRAMES] if current else ()):
        yield "" if place else "python", f"{frame.function} ({frame.file}:{frame.line})"


def _code(place: CodePlace | None) -> Iterator[tuple[str, str]]:
    if place is None:
        return
    if place.instruction:
        said = f": {place.instruction.words}" if place.instruction.words else ""
        yield "code", f"{place.instruction.text}{said}"
    if place.line:
        yield "source", f"{place.line.file}:{place.line.line}"
    if place.path and not place.trouble:
        proof = ", the same code as the kernel printed" if place.proven else ""
        yield "file", f"{place.path}{proof}"
    elif place.trouble:
        yield "function", f"unknown: {place.path + ': ' if place.path else ''}{place.trouble}"


def _when(epoch: float) -> str:
    return datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _line(events: tuple[CrashEvent, ...], first: float, last: float) -> str:
    """Draw how crashes spread over their time."""
    cells = [0] * _WIDTH
    for event in events:
        if event.time is not None:
            cells[min(_WIDTH - 1, int((event.time - first) / (last - first) * _WIDTH))] += 1
    most = max(cells)
    return "|" + "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in cells) + "|"
