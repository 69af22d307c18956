"""The scan section of the terminal report: how much was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from diag.render import terminal_why

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.snapshot import Snapshot


def section(snapshot: Snapshot, now: float, *, verbose: bool) -> Iterator[RenderableType]:
    """Yield the numbers; with ``verbose`` also every chain of waits that is stuck."""
    counted = dict(snapshot.counted)
    yield Text(
        f"Looked at {counted.get('processes', 0)} processes with {counted.get('threads', 0)} threads, "
        f"at {counted.get('looked_at_closely', 0)} of the processes closely.",
        style="dim",
    )
    if verbose:
        yield from terminal_why.section(snapshot, now, verbose=True)
