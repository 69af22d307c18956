"""``diag scan``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from diag.cli.common import bar, finish, host_for, output_options, progress
from diag.cli.databases import access, database_options, literals_option

if TYPE_CHECKING:
    from diag.host import Logins

FAMILIES = ("L", "T", "P", "D", "C008")
"""Rules about waiting, and crash loops."""


@click.command("scan", short_help="The whole host: every deadlock, orphaned lock and stuck chain.")
@literals_option
@output_options
@database_options
def command(
    *, literals: bool, logins: Logins, form: str, output: str | None, replay: str | None, verbose: bool
) -> None:
    """Look for everything on this host that waits and will never get what it waits for.

    First each thread is looked at through /proc alone; then those that do not move, and whoever they
    wait for, are looked at closely. Nobody is stopped. One finding a cause, the worst first.

    \b
    diag scan
    diag scan --format json -o host.json
    diag scan --dsn mysql://diag@127.0.0.1:3306/
    """
    from diag.diagnose import diagnose  # noqa: PLC0415 - --help stays quick
    from diag.investigate import scan  # noqa: PLC0415

    host = host_for(replay)
    with progress("looking at the host") as say:
        taken_at = host.clock().wall
        snapshot = scan.look(
            host, access=access(host, logins, literals=literals), say=lambda text, done: say(bar(text, done))
        )
    report = diagnose(snapshot, command=("diag", "scan"), view="scan", taken_at=taken_at, families=FAMILIES)
    finish(report, host, form=form, output=output, verbose=verbose)
