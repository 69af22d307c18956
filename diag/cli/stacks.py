"""``diag stacks``: what every thread of some processes does and waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from diag.cli.common import finish, host_for, output_options, progress
from diag.cli.databases import access, database_options
from diag.errors import UsageError

if TYPE_CHECKING:
    from diag.host import Logins

FAMILIES = "C"
"""The rules that stacks alone can answer: a connection shared between threads."""


@click.command(
    "stacks",
    short_help="Stacks of processes, each thread with what it waits for in words.",
    epilog="Exit codes: 0 nothing found, 1 diag failed, 2 usage, 3 something found, "
    "4 nothing found but something was hidden.",
)
@click.argument("pids", metavar="PID...", nargs=-1, required=True, type=click.IntRange(min=1))
@click.option("--no-children", is_flag=True, help="Leave the children of PID out.")
@click.option("--native", is_flag=True, help="Show C frames too (needs to stop the target).")
@click.option("--locals", "with_locals", is_flag=True, help="Show variables; secrets are masked.")
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Look N times, and say which threads moved.",
)
@click.option(
    "--interval",
    metavar="S",
    type=click.FloatRange(0, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two samples.",
)
@click.option("--no-pause", is_flag=True, help="Never stop a target, not even for a moment.")
@output_options
@database_options
def command(
    *,
    pids: tuple[int, ...],
    no_children: bool,
    native: bool,
    with_locals: bool,
    samples: int,
    interval: float,
    no_pause: bool,
    logins: Logins,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Show the threads of each process PID and of its children, and what each one waits for.

    \b
    diag stacks 4743
    diag stacks 4743 --samples 5 --interval 2    which threads do not move?
    diag stacks $(pgrep -f gunicorn) --no-children
    """
    from msgspec.structs import replace  # noqa: PLC0415 - loads only when used

    from diag.diagnose import diagnose  # noqa: PLC0415
    from diag.investigate import stacks  # noqa: PLC0415

    if native and no_pause:
        raise UsageError(
            "--native has to stop the target: it does not go with --no-pause", hint="leave one of them out"
        )
    host = host_for(replay)
    started = host.clock().wall
    plan = stacks.Plan(
        children=not no_children,
        pause=not no_pause,
        native=native,
        samples=samples,
        interval=interval,
        access=access(host, logins, literals=with_locals),
    )
    with progress("looking at processes") as say:
        snapshot = stacks.look(host, pids, plan, say)
    report = diagnose(
        snapshot,
        command=("diag", "stacks", *map(str, pids)),
        view="stacks",
        taken_at=started,
        families=FAMILIES,
    )
    if not with_locals:
        report = replace(report, snapshot=report.snapshot.without_locals())
    finish(report, host, form=form, output=output, verbose=verbose)
