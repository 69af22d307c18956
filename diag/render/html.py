"""The terminal report as one HTML page, for a ticket or a mail: no script, no outside file."""

from __future__ import annotations

import html
import io
from typing import TYPE_CHECKING

from rich.console import Console

from diag.render.escape import plain
from diag.render.terminal import parts

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.report import Report

WIDTH = 120
"""Columns: what a page shows without a scroll bar; the window that ran diag has no say."""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8"><title>{title}</title><style>
body {{ color: {foreground}; background-color: {background}; }}
pre {{ font-family: ui-monospace, Menlo, Consolas, monospace; }}
</style></head><body>
<pre><code>{code}</code></pre>
</body></html>
"""


def render(report: Report, host: Host, *, width: int, color: bool, verbose: bool) -> str:
    """Return the report as a page; rich escapes the text, ``parts`` its control characters."""
    del width, color
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH, highlight=False, markup=False, emoji=False
    )
    for part in parts(report, verbose=verbose):
        console.print(part)
    title = html.escape(plain(f"{' '.join(report.command)} on {host.info.name}"))
    page = _PAGE.replace("{title}", title.replace("{", "{{").replace("}", "}}"))
    return console.export_html(inline_styles=True, code_format=page)
