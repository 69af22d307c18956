"""``diag segfaults``."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from diag.cli.common import finish, host_for, output_options, search_progress
from diag.render import FORMATS

if TYPE_CHECKING:
    from diag.host import Host


@click.command(
    "segfaults",
    short_help="Crashes in kernel and service logs, decoded and explained.",
    epilog="Exit codes: 0 nothing found, 1 diag failed, 2 usage, 3 something found, "
    "4 nothing found but something was hidden.",
)
@click.argument("logs", metavar="[LOG]...", nargs=-1, type=click.Path(readable=False))
@click.option("--since", metavar="TIME", help="Crashes from TIME on: '2026-11-22 08:00', yesterday, -2h.")
@click.option("--until", metavar="TIME", help="Crashes until TIME.")
@click.option("--program", metavar="NAME", help="Only crashes of this program or thread name.")
@click.option("--library", metavar="NAME", help="Only crashes in this library: libmysqlclient.")
@click.option("--pid", metavar="PID", type=int, help="Only crashes that name this process or thread.")
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(),
    help="Where the files of the crashed programs are: another system's root, a container's, a directory.",
)
@click.option(
    "--debug-dir",
    metavar="DIR",
    multiple=True,
    type=click.Path(),
    help="Separate debug files, laid out as in /usr/lib/debug. May be given several times.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on: print each new crash when it comes.")
@click.option("--no-pause", is_flag=True, help="Never stop a living process to read its stacks.")
@output_options
def command(
    logs: tuple[str, ...],
    *,
    since: str | None,
    until: str | None,
    program: str | None,
    library: str | None,
    pid: int | None,
    root: str | None,
    debug_dir: tuple[str, ...],
    follow: bool,
    no_pause: bool,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Find crashes in logs, and say what crashed, where, since when, how often, and probably why.

    LOG is a file (also .gz, .bz2, .xz, .zst, or of a journal), a directory (a copied /var/log, a
    sosreport), or - for standard input: kernel and service logs together, so that what a service said is
    matched with the kernel's line. Without LOG: /var/log/messages*, kern.log* and syslog*, the journal and
    the kernel ring buffer, whichever exist.

    Function and line come from the files that crashed, as long as they are still the same: of this host's
    own crashes from where its processes, its loader or a short search find them, else from --root.
    Debugging information may lie apart, in /usr/lib/debug or --debug-dir; servers are asked where
    DEBUGINFOD_URLS names them.

    \b
    diag segfaults                                  what crashed on this host?
    diag segfaults /var/log/messages celery.log     both sides of the story
    diag segfaults --since yesterday                only lately
    ssh host dmesg | diag segfaults -               another host's kernel ring buffer
    diag segfaults --root / saved-dmesg.txt         functions and lines from the files below this root
    diag segfaults --follow --format json           each new crash, one JSON document a line
    """
    from diag.cli.moments import moment  # noqa: PLC0415 - --help stays quick
    from diag.errors import UsageError  # noqa: PLC0415
    from diag.host.names import to_text  # noqa: PLC0415
    from diag.investigate.places import places as checked  # noqa: PLC0415
    from diag.investigate.segfaults import Span, Wanted, look  # noqa: PLC0415

    host = host_for(replay)
    recorded = _recorded(host)
    named = tuple(map(to_text, logs or recorded.get("logs", ())))
    places = checked(host, root or recorded.get("root"), debug_dir or recorded.get("debug_dir", ()))
    taken_at = host.clock().wall
    ends = [text and moment(text, now=taken_at, zone=host.info.zone) for text in (since, until)]
    span, wanted = Span(*(end or None for end in ends)), Wanted(program, library, pid)
    if follow:
        from diag.cli.follow import run  # noqa: PLC0415 - only this option needs it

        if replay:
            raise UsageError("a recording has no future", hint="leave --follow or --replay out")
        click.get_current_context().exit(
            run(named, span=span, wanted=wanted, places=places, form=form, output=output)
        )
    rest = threading.Thread(target=_load_the_rest, args=(form,))
    rest.start()  # the search leaves the interpreter to others for most of its time
    with search_progress(host, "searching logs") as tell:
        snapshot = look(
            host,
            named,
            places=places,
            span=span,
            wanted=wanted,
            pause=not no_pause,
            tell=tell,
        )
    rest.join()
    from diag.diagnose import diagnose  # noqa: PLC0415

    report = diagnose(
        snapshot, command=("diag", "segfaults", *named), view="segfaults", taken_at=taken_at, families="C"
    )
    finish(report, host, form=form, output=output, verbose=verbose)


def _load_the_rest(form: str) -> None:
    for name in ("diag.diagnose", FORMATS[form]):
        import_module(name)


def _recorded(host: Host) -> dict[str, Any]:
    """Return the options with which ``host`` was recorded: what they name was read; none for a live one."""
    words = getattr(host, "command", ())
    if "segfaults" not in words:
        return {}
    begin = words.index("segfaults") + 1
    with command.make_context("segfaults", list(words[begin:]), resilient_parsing=True) as context:
        return context.params
