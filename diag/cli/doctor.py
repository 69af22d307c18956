"""``diag doctor``: what can be seen on this host."""

from __future__ import annotations

import click

from diag.cli.common import finish, host_for, output_options, progress
from diag.errors import UsageError
from diag.host.tape import ReplayHost
from diag.investigate import doctor


@click.command(
    "doctor",
    short_help="What diag can see on this host, and what would lift each limit.",
    epilog="Exit codes: 0 everything can be seen, 1 diag failed, 2 usage, 4 something is hidden.",
)
@output_options
def command(*, form: str, output: str | None, replay: str | None, verbose: bool) -> None:
    """Try each kind of evidence once; say what is hidden, and the exact command that lifts it.

    \b
    diag doctor
    sudo diag doctor          is root enough here?
    diag doctor --format json
    """
    host = host_for(replay)
    if isinstance(host, ReplayHost) and "doctor" not in host.command:
        raise UsageError(
            f"this is a recording of 'diag {' '.join(host.command)}', which tried other things",
            hint="on the host in question: diag record -o FILE -- doctor",
        )
    with progress("trying each kind of evidence"):
        report = doctor.investigate(host, ("doctor",))
    finish(report, host, form=form, output=output, verbose=verbose)
