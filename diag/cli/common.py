"""What all commands share: their options, their host, their way out."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from diag.errors import DiagError
from diag.host import LiveHost
from diag.render import FORMATS, renderer
from diag.render.charset import spoken
from diag.render.escape import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diag.host import Host, Machine
    from diag.model.report import Report

_WIDTH = 30
F = TypeVar("F", bound="Callable[..., Any]")


class UnseenPath(click.Path):
    """A path that is not looked at here: its server may never answer, and only the host has time limits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Give the path back as it was typed."""
        del param, ctx
        return value


def output_options(command: F) -> F:
    """Add --format, -o, --replay and -v to a command."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show all evidence and every gap."),
        click.option(
            "--replay",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, readable=True),
            help="Look at a recording made by 'diag record' instead of this host.",
        ),
        click.option(
            "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write to FILE."
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(list(FORMATS)),
            default="terminal",
            show_default=True,
            help="Form of the report.",
        ),
    ):
        command = option(command)
    return command


def host_for(replay: str | None, *, meanwhile: Callable[[], object] = lambda: None) -> Machine:
    """Return the host a command looks at: the one being recorded, a recording, or this machine."""
    ctx = click.get_current_context(silent=True)
    given = ctx.find_root().obj if ctx else None
    if given is not None:
        host: Machine = given
        return host
    if replay is None:
        return LiveHost(meanwhile)
    from diag.host.tape import ReplayHost  # noqa: PLC0415 - loads only when used

    with open(replay, "rb") as file:
        return ReplayHost.load(file.read())


def finish(report: Report, host: Host, *, form: str, output: str | None, verbose: bool) -> None:
    """Print the report and leave with its exit code."""
    to_terminal = output is None and sys.stdout.isatty()
    text = renderer(form)(
        report,
        host,
        width=shutil.get_terminal_size((100, 24)).columns,
        color=to_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        verbose=verbose,
    )
    if output is None:
        _print(spoken(text, sys.stdout.encoding) if form == "terminal" else text)
    else:
        # Opened last, so that a failed run leaves no empty file behind.
        try:
            with open(output, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise DiagError(
                f"cannot write {output}: {error.strerror}",
                hint="name a file in a directory you may write to",
            ) from error
    click.get_current_context().exit(report.exit_code)


def _print(text: str) -> None:
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:  # who reads it has seen enough
        raise
    except OSError as error:
        raise DiagError(
            f"cannot write the report: {error.strerror}", hint="is the disk full? write it elsewhere: -o FILE"
        ) from error


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner on the error stream while the block runs; silent when nobody watches.

    Yields a function that changes the text.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - rich loads only when someone watches
    from rich.text import Text  # noqa: PLC0415

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda changed: status.update(Text(plain(changed)))


@contextmanager
def search_progress(host: Machine, text: str) -> Iterator[Callable[[str], None]]:
    """Show the same with how far the search through the present log is, and how fast."""
    watched = getattr(host, "progress", None)
    if watched is None or not sys.stderr.isatty():
        with progress(text) as tell:
            yield tell
        return
    from diag.cli.meter import Meter  # noqa: PLC0415 - rich loads only when someone watches

    meter = Meter(watched, text)
    meter.start()
    try:
        yield meter.tell
    finally:
        meter.stop()


def bar(text: str, done: float) -> str:
    """Draw how far it is: ``━━━━━─────  50%  looking at file locks``."""
    full = round(_WIDTH * min(max(done, 0.0), 1.0))
    return f"{'━' * full}{'─' * (_WIDTH - full)} {done:4.0%}  {text}"
