"""The loop of ``diag segfaults --follow``."""

from __future__ import annotations

import select
import signal
import sys
import time
from typing import TYPE_CHECKING

import click

from diag.cli.common import host_for
from diag.diagnose import diagnose
from diag.errors import DiagError, UsageError
from diag.host import LiveHost
from diag.investigate.follow import Asked, follow
from diag.render import live
from diag.render.escape import plain

if TYPE_CHECKING:
    from diag.investigate.places import Places
    from diag.investigate.segfaults import Span, Wanted


def run(
    logs: tuple[str, ...], *, span: Span, wanted: Wanted, places: Places, form: str, output: str | None
) -> int:
    """Print each new crash until a signal comes or nobody reads on; return the exit code."""
    host = host_for(None)
    if not isinstance(host, LiveHost):
        raise UsageError("what is yet to come cannot be recorded", hint="run it without diag record")
    if form not in {"terminal", "json"}:
        raise UsageError(f"--follow prints no {form}", hint="use --format json, one document a line")
    seen: list[str] = []
    hidden: list[str] = []

    def tell(name: str, error: OSError) -> None:
        if isinstance(error, FileNotFoundError) and not logs:
            return
        hidden.append(name)
        click.echo(f"diag: cannot follow {plain(name)}: {plain(error.strerror or str(error))}", err=True)

    with click.open_file(output or "-", "a" if output else "w", encoding="utf-8") as file:
        asked = Asked(span, wanted, places)
        for event, snapshot in follow(host, logs, asked, stop=_stopper(), hidden=tell):
            report = diagnose(
                snapshot, command=("diag", "segfaults"), view="segfaults", taken_at=time.time(), families="C"
            )
            seen.append(event.kind)
            show = live.json if form == "json" else live.terminal
            click.echo(show(report, event), file=file)
    if logs and not seen and len(hidden) >= len(logs):
        raise DiagError("none of the logs can be followed", hint="check the paths, and the rights on them")
    return 3 if seen else 4 if hidden else 0


class _stopper:  # noqa: N801 - used as a function
    """Tells whether to stop: a signal came, or the reader of our output went away."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._reader = select.poll()
        self._reader.register(sys.stdout.fileno(), 0)

    def __call__(self) -> bool:
        return self._asked or any(state & select.POLLERR for _, state in self._reader.poll(0))

    def _stop(self, *_: object) -> None:
        self._asked = True
