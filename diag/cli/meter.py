"""A bar on the error stream: which log is being searched, how far, how fast."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from diag.render.escape import plain

if TYPE_CHECKING:
    from diag.host.records import Progress

_BAR = 30  # cells
_MIB = 1 << 20


class Meter:
    """Drawn anew a few times a second by rich's own thread, from numbers that the search keeps."""

    def __init__(self, progress: Progress, text: str) -> None:
        self._progress, self._text = progress, text
        self._path, self._begun = "", time.monotonic()
        self._spinner = Spinner("dots")
        self._live = Live(
            console=Console(stderr=True),
            get_renderable=self._draw,
            refresh_per_second=8,
            transient=True,
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Take the line off the screen."""
        self._live.stop()

    def tell(self, text: str) -> None:
        """Say what is done now."""
        self._text = plain(text)

    def _draw(self) -> Table:
        seen = self._progress
        if seen.path != self._path:
            self._path, self._begun = seen.path, time.monotonic()
        row = Table.grid(padding=(0, 1))
        parts: list[Spinner | Text | ProgressBar] = [self._spinner, Text(self._text, overflow="ellipsis")]
        if seen.size:
            parts.append(ProgressBar(total=seen.size, completed=min(seen.done, seen.size), width=_BAR))
        if seen.done:
            rate = seen.done / max(time.monotonic() - self._begun, 0.001) / _MIB
            parts.append(Text(f"{seen.done / _MIB:,.0f} MiB, {rate:,.0f} MiB/s"))
        for _ in parts:
            row.add_column(no_wrap=True)
        row.add_row(*parts)
        return row
