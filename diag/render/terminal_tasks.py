"""The tasks and greenlets of the stacks section: those that stand at the same lines shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from diag.render import terminal_stacks
from diag.render.escape import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from diag.model.snapshot import SeenTask

MOST_NAMED = 4
"""Tasks named of those that stand at the same lines (all of them with -v)."""
MOST_GROUPS = 50
"""Different stacks that are shown, those of most tasks first (all of them with -v)."""


def section(tasks: Sequence[SeenTask], *, verbose: bool) -> Iterator[RenderableType]:
    """Yield what each of them waits for, those of one process and kind together."""
    by_loop: dict[tuple[int, str], list[SeenTask]] = {}
    for task in tasks:
        by_loop.setdefault((task.process.pid, task.kind), []).append(task)
    for (pid, kind), members in by_loop.items():
        count = f"{len(members)} {kind}s wait" if len(members) != 1 else f"1 {kind} waits"
        yield Text(f"\npid {pid}: {count} for their turn", style="bold cyan")
        groups = _alike(members)
        for group in groups if verbose else groups[:MOST_GROUPS]:
            yield _group(group, verbose=verbose)
        if len(groups) > MOST_GROUPS and not verbose:
            yield Text(f"and {len(groups) - MOST_GROUPS} more different stacks (-v)", style="dim")


def _alike(tasks: Sequence[SeenTask]) -> list[list[SeenTask]]:
    groups: dict[object, list[SeenTask]] = {}
    for task in tasks:
        lines = tuple((frame.function, frame.file, frame.line) for frame in task.stack.frames)
        groups.setdefault((lines, task.wait and task.wait.resource.key), []).append(task)
    return sorted(groups.values(), key=len, reverse=True)


def _group(group: Sequence[SeenTask], *, verbose: bool) -> RenderableType:
    names = [plain(task.actor.task or "?") for task in (group if verbose else group[:MOST_NAMED])]
    more = f" and {len(group) - len(names)} more" if len(group) > len(names) else ""
    many = f"{len(group)} alike: " if len(group) > 1 else ""
    parts: list[RenderableType] = [
        Text(f"○ {waits_for(group[0])}", style="yellow" if group[0].wait else "dim"),
        Text(f"  {many}{', '.join(names)}{more}"),
    ]
    if group[0].stack.frames:
        parts.append(Padding(terminal_stacks.frames(group[0].stack.frames, verbose=verbose), (0, 0, 0, 4)))
    return Group(*parts)


def waits_for(task: SeenTask) -> str:
    """Say what a task waits for; one that waits for its loop: in which function."""
    if task.wait:
        return plain(task.wait.words)
    frame = next(iter(task.stack.frames), None)
    if frame is None:
        return "has not begun"
    return plain(f"waits for its loop, in {frame.function} ({frame.file.rpartition('/')[2]}:{frame.line})")
