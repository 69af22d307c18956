"""What diag can see, for a terminal: the verdict, each sight on a line, and what lifts its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from diag.render.escape import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from diag.model.report import Report
    from diag.model.sight import Sight

MARKS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("", "dim")}


def parts(report: Report) -> Iterator[RenderableType]:
    """Yield the report of ``diag doctor``, piece by piece."""
    sights = report.snapshot.sights
    yield _verdict(sum(sight.can is False for sight in sights))
    yield ""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    for sight in sights:
        _add(table, sight)
    yield table


def _verdict(limits: int) -> Text:
    if not limits:
        return Text("diag can see everything it looks for on this host.", style="bold green")
    words = "One kind of evidence is" if limits == 1 else f"{limits} kinds of evidence are"
    return Text(f"{words} hidden from diag here.", style="bold red")


def _add(table: Table, sight: Sight) -> None:
    mark, style = MARKS[sight.can]
    table.add_row(Text(mark, style=style), Text(plain(sight.what)), Text(plain(sight.detail)))
    if sight.lifts:
        table.add_row("", "", Text(f"lift it: {plain(sight.lifts)}", style="bold"))
