"""``diag record``: keep every byte that a command reads."""

from __future__ import annotations

import click

from diag.errors import DiagError
from diag.host import LiveHost
from diag.host.tape import RecordingHost


@click.command(
    "record",
    context_settings={"ignore_unknown_options": True},
    short_help="Save all evidence that a command reads.",
    epilog="The recording holds stacks, paths and process names of this host: treat it like a log.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False),
    help="The recording.",
)
@click.argument("arguments", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, output: str, arguments: tuple[str, ...]) -> None:
    """Run COMMAND and save all evidence it reads; --replay runs it again, anywhere.

    \b
    diag record -o incident.diag -- locks /var/lock/app.lock
    diag locks /var/lock/app.lock --replay incident.diag
    """
    from diag.cli import cli  # noqa: PLC0415 - cli loads this module

    if arguments[0] == "diag":
        arguments = arguments[1:]
    host = RecordingHost(LiveHost(), arguments)
    # Outside of standalone mode, click gives back the code that a command leaves with.
    code = int(cli.main(list(arguments), prog_name="diag", obj=host, standalone_mode=False) or 0)
    try:
        with open(output, "wb") as file:
            file.write(host.dump())
    except OSError as error:
        raise DiagError(
            f"cannot write {output}: {error.strerror}",
            hint="name a file in a directory you may write to",
        ) from error
    click.echo(f"recorded in {output}", err=True)
    ctx.exit(code)
