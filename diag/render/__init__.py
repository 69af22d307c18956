"""Report -> text. A new output is one file here and one line in ``FORMATS``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.report import Report


class Render(Protocol):
    """One output format."""

    def __call__(self, report: Report, host: Host, *, width: int, color: bool, verbose: bool) -> str:
        """Return the whole report as text that ends in a newline."""


# Named, not imported: rich is loaded only when a terminal report is wanted.
FORMATS = {
    "terminal": "diag.render.terminal",
    "json": "diag.render.json_v1",
    "html": "diag.render.html",
}


def renderer(name: str) -> Render:
    """Load the module of a format and return its ``render``."""
    return cast("Render", import_module(FORMATS[name]).render)
