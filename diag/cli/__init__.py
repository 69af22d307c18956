"""The command line: parse, call two functions, print, exit."""

from __future__ import annotations

import gc
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from diag import __version__
from diag.errors import DiagError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Command -> (module, one line of help). Modules load only when their command is used: --help stays quick.
COMMANDS = {
    "locks": (
        "diag.cli.locks",
        "Who holds a file lock, who waits, and why it is not released.",
    ),
    "stacks": (
        "diag.cli.stacks",
        "Stacks of processes, each thread with what it waits for in words.",
    ),
    "why": ("diag.cli.why", "The wait chain from a process to its cause."),
    "scan": ("diag.cli.scan", "The whole host: every deadlock, orphaned lock and stuck chain."),
    "segfaults": (
        "diag.cli.segfaults",
        "Crashes in kernel and service logs, decoded and explained.",
    ),
    "core": ("diag.cli.core", "A core dump: why it died or hung, what each thread did."),
    "db": ("diag.cli.db", "A database server's locks, with each client's line of code."),
    "record": ("diag.cli.record", "Save all evidence that a command reads, for --replay anywhere."),
    "explain": ("diag.cli.explain", "What a finding's code means, and what to do."),
    "doctor": (
        "diag.cli.doctor",
        "What diag can see on this host, and what would lift each limit.",
    ),
    "demo": ("diag.cli.demo", "Start a real incident, diagnose it, clean up."),
}


class Commands(click.Group):
    """Loads each command's module on use, and is the one place where a DiagError meets the user."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the table, not of the alphabet."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands from the table alone: a shell waits for this at every Tab."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only when a shell asks

        names = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error the user can mend is two lines, never a traceback."""
        from diag.render.escape import plain  # noqa: PLC0415 - only on this path

        try:
            return super().invoke(ctx)
        except DiagError as error:
            click.echo(f"diag: {plain(str(error))}\nhint: {plain(error.hint)}", err=True)
            ctx.exit(error.exit_code)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 nothing found, 1 diag failed, 2 usage, 3 something found, "
    "4 nothing found but something was hidden.",
)
@click.version_option(__version__, "-V", "--version", prog_name="diag", message="%(prog)s %(version)s")
def cli() -> None:
    """Tell why a Linux service is stuck or crashing: from outside, live, with the evidence.

    \b
    diag locks /var/lock/app.lock   why is this lock never released?
    diag stacks 4743                what does each thread wait for?
    diag segfaults                  what crashed here, where, and why?
    """


def main() -> None:
    """Run the command line; a reader that closes the pipe early is no error.

    A bug of ours is told in two lines as well: at 3 a.m. a traceback helps nobody. DIAG_DEBUG=1 shows it.
    """
    # What loads stays: to look through it for garbage costs a tenth of a short run (measured).
    gc.set_threshold(200_000)
    # Who starts diag with a closed descriptor (``>&-``, some supervisors) wants the exit code only.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    try:
        cli(prog_name="diag")
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if os.environ.get("DIAG_DEBUG"):
            raise
        from diag.render.escape import plain  # noqa: PLC0415 - only on this path

        click.echo(
            f"diag: a bug in diag: {type(error).__name__}: {plain(str(error))}\n"
            "hint: please report it with the traceback that DIAG_DEBUG=1 shows, and a recording "
            "(diag record -o FILE -- COMMAND) if you may share one",
            err=True,
        )
        sys.exit(1)
