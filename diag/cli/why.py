"""``diag why``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from diag.cli.common import finish, host_for, output_options, progress
from diag.cli.databases import access, database_options, literals_option

if TYPE_CHECKING:
    from diag.host import Logins

FAMILIES = ("L", "T", "P", "D", "C009")
"""Rules about waiting: file locks, threads, processes, databases."""


@click.command("why", short_help="The wait chain from a process to its cause.")
@click.argument("pids", metavar="PID...", nargs=-1, required=True, type=click.IntRange(min=1))
@click.option(
    "--no-pause", is_flag=True, help="Never stop a process, not even for the milliseconds of a stack."
)
@literals_option
@output_options
@database_options
def command(
    *,
    pids: tuple[int, ...],
    no_pause: bool,
    literals: bool,
    logins: Logins,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Follow what each process PID waits for, and who holds that, to the cause at the end.

    The chain goes through threads, file locks, pipes, sockets, child processes and, with --dsn, the
    locks of database servers. A wait counts as
    stuck when two looks, a second apart, show the same.

    \b
    diag why 4743                      why does this process not go on?
    diag why $(pgrep -f my-worker)     several at once
    diag why 4743 --dsn mysql://diag@127.0.0.1:3306/   through the database's locks too
    """
    from diag.diagnose import diagnose  # noqa: PLC0415 - --help stays quick
    from diag.investigate import why  # noqa: PLC0415

    host = host_for(replay)
    with progress("looking at processes") as say:
        taken_at = host.clock().wall
        snapshot = why.look(
            host, pids, pause=not no_pause, access=access(host, logins, literals=literals), say=say
        )
    report = diagnose(
        snapshot,
        command=("diag", "why", *map(str, pids)),
        view="why",
        taken_at=taken_at,
        families=FAMILIES,
    )
    finish(report, host, form=form, output=output, verbose=verbose)
