"""``diag demo``: a real incident, diagnosed by the real command, and cleaned up."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import msgspec

from diag.demos import DEMOS, staged
from diag.host import LiveHost
from diag.host.tape import RecordingHost, ReplayHost
from diag.render import FORMATS

if TYPE_CHECKING:
    from types import FrameType

    from diag.demos import Demo, Stage
    from diag.host import Host


@click.command(
    "demo",
    short_help="Start a real incident, diagnose it, clean up.",
    epilog="Needs nothing beyond Python, and no rights; saturated-pool starts a database server of its own, "
    "mariadbd or postgres, which must be installed. "
    "Exit codes: 0 diag found the cause, 1 it did not, 2 usage.",
)
@click.argument("name", type=click.Choice(list(DEMOS)), default="self-deadlock")
@click.option("--keep", is_flag=True, help="Leave it running for a look by hand, until Ctrl-C.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="terminal",
    show_default=True,
    help="Form of the report; the story goes to the error stream if it is not the terminal's.",
)
def command(name: str, *, keep: bool, form: str) -> None:
    """Start the incident NAME, run the real diag on it, and end it.

    \b
    diag demo                        a process that deadlocks on itself
    diag demo lock-cycle --keep      leave it there, to try lslocks, py-spy, diag stacks ...
    diag demo saturated-pool         a COMMIT behind the UPDATEs that wait for it
    """
    # Python would die of SIGTERM or SIGHUP without cleaning up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    demo = DEMOS[name]
    with staged(demo) as stage:
        _tell(name, demo, stage, aside=form != "terminal")
        found = _diagnose(stage.question, form)
        if keep:
            _hold(stage)
    if demo.code not in found:
        click.echo(
            f"diag: the demo should give {demo.code}, but diag found {' '.join(found) or 'nothing'}\n"
            "hint: see 'diag doctor' for what diag can see on this host",
            err=True,
        )
        click.get_current_context().exit(1)


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(128 + number)


def _tell(name: str, demo: Demo, stage: Stage, *, aside: bool) -> None:
    """Say what was started, and the command that comes next."""
    cast = ", ".join(f"{role} {pid}" for role, pid in stage.cast)
    click.secho(f"demo {name}", bold=True, err=aside, color=None if _colorful() else False)
    click.echo(f"{click.wrap_text(demo.story, 78)}\n({cast})\n", err=aside)
    click.echo(f"$ diag {shlex.join(stage.question)}\n", err=aside)


def _colorful() -> bool:
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _diagnose(arguments: tuple[str, ...], form: str) -> list[str]:
    """Run a diag command for the user to read; return the codes of what it found."""
    host = RecordingHost(LiveHost(), arguments)
    sys.stdout.flush()
    _run([*arguments, "--format", form], host)
    # The same evidence once more as JSON: what the user reads is what we judge.
    with tempfile.NamedTemporaryFile("rb", prefix="diag-demo-") as report:
        _run([*arguments, "--format", "json", "-o", report.name], ReplayHost.load(host.dump()))
        return [finding["code"] for finding in msgspec.json.decode(report.read())["findings"]]


def _run(arguments: list[str], host: Host) -> None:
    from diag.cli import cli  # noqa: PLC0415 - cli loads this module

    # As the command's exit code, "something was found" comes back as a value, not as an exception.
    cli.main(arguments, prog_name="diag", obj=host, standalone_mode=False)


def _hold(stage: Stage) -> None:
    click.echo("\nThe incident stays until you press Ctrl-C. Look at it by hand.", err=True)
    with suppress(KeyboardInterrupt):
        stage.director.wait()
