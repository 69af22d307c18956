"""``diag locks``."""

from __future__ import annotations

from importlib import import_module

import click

from diag.cli.common import UnseenPath, finish, host_for, output_options, progress

FAMILIES = ("L",)


@click.command("locks", short_help="Who holds a file lock, who waits, and why it is not released.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=UnseenPath())
@click.option(
    "--no-pause", is_flag=True, help="Never stop a process, not even for the milliseconds of a stack."
)
@output_options
def command(
    paths: tuple[str, ...],
    *,
    no_pause: bool,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Show who holds the locks of files, who waits for them, and why they are not released.

    PATH is a lock file or a directory (locks below it); without PATH every file lock on the host.

    \b
    diag locks /var/lock/app.lock       one lock file
    diag locks /var/lib/app             all locks below a directory
    diag locks --format json            all locks of the host, for a program
    """
    from diag.host.names import to_text  # noqa: PLC0415 - --help stays quick
    from diag.investigate.locks import look  # noqa: PLC0415

    host = host_for(replay, meanwhile=_load_the_rest)
    with progress("looking at locks"):
        taken_at = host.clock().wall
        asked = tuple(map(to_text, paths))
        snapshot = look(host, asked, pause=not no_pause)
    from diag.diagnose import diagnose  # noqa: PLC0415 - loaded while the workers of the host looked

    report = diagnose(
        snapshot, command=("diag", "locks", *asked), view="locks", taken_at=taken_at, families=FAMILIES
    )
    finish(report, host, form=form, output=output, verbose=verbose)


def _load_the_rest() -> None:
    """Load what comes after the look at all descriptors: by now other cores are busy with that."""
    from diag.investigate.locks import LATER  # noqa: PLC0415 - as above

    for name in (*LATER, "diag.diagnose", "diag.render.terminal", "psutil"):
        import_module(name)
    from diag.rules import rules  # noqa: PLC0415 - as above

    rules(FAMILIES)
