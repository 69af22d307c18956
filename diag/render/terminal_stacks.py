"""The stacks section of the terminal report: threads that stand at the same lines shown once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diag.render.escape import plain
from diag.render.fold import alike, runs, without_bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from diag.model.facts import Frame, Process
    from diag.model.snapshot import SeenThread, Snapshot

MOST_NAMED = 6
"""Threads named of one process, and processes named of one group (all of them with -v)."""
LONGEST_TITLE = 160
"""Characters of a command line (all of it with -v)."""
MOST_WORDS = 3
"""Different waits named of one group."""

# What goes without saying of a library's path: where the interpreter has been installed.
_LIBRARY = re.compile(r".*/(?:lib(?:64)?/(?:python|pypy)[\d.]*t?|(?:site|dist)-packages)/")

_STYLE = {"blocked": "red", "polling": "red", "running": "green", "timed": "yellow", "idle": "dim"}


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield what to show of the threads; ``now`` is the time of the look, in seconds since the epoch."""
    del now
    by_process: dict[int, list[SeenThread]] = {}
    for seen in snapshot.threads:
        by_process.setdefault(seen.process.pid, []).append(seen)
    yield from _processes(list(by_process.values()), verbose=verbose)
    for group in alike(snapshot.threads):
        yield Text("")
        yield _group(group, several=len(by_process) > 1, verbose=verbose)
    if snapshot.tasks:
        from diag.render import terminal_tasks  # noqa: PLC0415 - it lays out frames as we do

        yield from terminal_tasks.section(snapshot.tasks, verbose=verbose)


def _processes(members: Sequence[Sequence[SeenThread]], *, verbose: bool) -> Iterator[Text]:
    """One line a process; those of one program and kind are told together."""
    same: dict[tuple[str, str], list[Process]] = {}
    for threads in members:
        process = threads[0].process
        count = f"{len(threads)} threads" if len(threads) != 1 else "1 thread"
        stackless = not process.kernel and not any(thread.stack for thread in threads)
        note = f"{count}{', no Python stack' if stackless else ''}"
        same.setdefault((process.title, note), []).append(process)
    for (title, note), processes in same.items():
        shown = processes if verbose else processes[:MOST_NAMED]
        names = ", ".join(map(_pid, shown))
        more = f" and {len(processes) - len(shown)} more" if len(processes) > len(shown) else ""
        short = title if verbose or len(title) <= LONGEST_TITLE else f"{title[:LONGEST_TITLE]}…"
        text = Text(f"pid {names}{more}", style="bold").append(f"  {plain(short)}", style="not bold")
        yield text.append(f"  {note}{' each' if len(processes) > 1 else ''}", style="dim")


def _pid(process: Process) -> str:
    inside = process.container_pid
    return str(process.pid) if inside is None else f"{process.pid} (pid {inside} in its container)"


def _group(group: Sequence[SeenThread], *, several: bool, verbose: bool) -> RenderableType:
    parts: list[RenderableType] = [_words(group)]
    parts.extend(_people(group, several=several, verbose=verbose))
    stack = group[0].stack
    if stack and stack.frames:
        shown = stack.frames if verbose else without_bootstrap(stack.frames)
        parts.append(Padding(frames(shown, verbose=verbose), (0, 0, 0, 4)))
    return Group(*parts)


def _words(group: Sequence[SeenThread]) -> RenderableType:
    """What these threads wait for, each different way once."""
    different = list(dict.fromkeys(seen.wait.words if seen.wait else "?" for seen in group))
    style = _STYLE.get(group[0].wait.how.value if group[0].wait else "idle", "")
    lines = [Text(plain(words), style=style) for words in different[:MOST_WORDS]]
    if len(different) > MOST_WORDS:
        lines.append(Text(f"… and {len(different) - MOST_WORDS} more like this", style=style))
    mark = Text("●", style=style)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(mark, line)
        mark = Text("")
    return grid


def _people(group: Sequence[SeenThread], *, several: bool, verbose: bool) -> Iterator[RenderableType]:
    """Who they are, in a line a process; a count first where they are many."""
    by_process: dict[int, list[SeenThread]] = {}
    for seen in group:
        by_process.setdefault(seen.process.pid, []).append(seen)
    first = group[0]
    marks = [" has the GIL"] if first.stack and first.stack.owns_gil else []
    if first.moved is not None:
        state = "moved" if first.moved else f"unchanged in all {first.samples} samples"
        marks.append(f" {state}")
    if len(group) > 1:
        where = f" in {len(by_process)} processes" if len(by_process) > 1 else ""
        yield _indented(Text(f"{len(group)} threads{where}{','.join(marks)}", style="bold"))
        marks = []
    most = len(by_process) if verbose else MOST_NAMED
    for members in list(by_process.values())[:most]:
        names = [_name(seen) for seen in members[: None if verbose else MOST_NAMED]]
        more = f" and {len(members) - len(names)} more" if len(members) > len(names) else ""
        pid = f"pid {members[0].process.pid}: " if several else ""
        yield _indented(Text(f"{pid}{', '.join(names)}{more}{','.join(marks)}"))
    if len(by_process) > most:
        yield _indented(Text(f"and {len(by_process) - most} more processes (-v)", style="dim"))


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, 2))


def _name(seen: SeenThread) -> str:
    name = plain((seen.stack and seen.stack.thread) or seen.thread.name)
    return f"{name} ({seen.thread.tid})"


def frames(shown: Sequence[Frame], *, verbose: bool) -> RenderableType:
    """Lay out frames, the innermost first."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for run in runs(shown):
        for frame in run.frames:
            grid.add_row(_function(frame), _place(frame, verbose=verbose))
        if run.times > 1:
            what = "this line" if len(run.frames) == 1 else f"these {len(run.frames)} lines"
            grid.add_row(Text(f"… {what} {run.times} times in a row", style="italic"), "")
    return grid


def _function(frame: Frame) -> RenderableType:
    name = Text(plain(frame.function), style="cyan" if frame.native else "")
    if not frame.locals:
        return name
    values = (Text(f"  {plain(local.name)} = {plain(local.value)}", style="dim") for local in frame.locals)
    return Group(name, *values)


def _place(frame: Frame, *, verbose: bool) -> Text:
    library = _LIBRARY.match(frame.file)
    file = frame.file[library.end() :] if library and not verbose else frame.file
    line = f":{frame.line}" if frame.line else ""
    return Text(plain(f"{file}{line}"), style="dim" if library or frame.native else "")
