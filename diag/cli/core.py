"""``diag core``."""

from __future__ import annotations

import click

from diag.cli.common import bar, finish, host_for, output_options, progress
from diag.render import renderer

FAMILIES = ("T001", "T002", "T003", "T004", "T005", "T006", "T007", "T008", "T009", "L", "C")
"""Rules that one instant can answer: rings, and crashes. How long something lasts, no core tells: T006 and
T007 are blind where it would matter, and those of file locks where a thread waits for one."""


@click.command(
    "core",
    short_help="The same, post-mortem: what a core dump tells.",
    epilog="Exit codes: 0 nothing found, 1 diag failed, 2 usage, 3 something found, "
    "4 nothing found but something was hidden.",
)
@click.argument("core", metavar="[CORE]", required=False, type=click.Path())
@click.option("--exe", metavar="FILE", type=click.Path(), help="The program, where it lies elsewhere now.")
@click.option("--root", metavar="DIR", type=click.Path(), help="Where the files of the core's machine lie.")
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=click.Path(),
    help="A log of its service: which worker, since when, its last requests. May be given again.",
)
@click.option("--locals", "with_locals", is_flag=True, help="Show variables; secrets are masked.")
@output_options
def command(
    *,
    core: str | None,
    exe: str | None,
    root: str | None,
    logs: tuple[str, ...],
    with_locals: bool,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Look into a core dump: why the process died or hung, what each thread did, and who waited for whom.

    CORE is what the kernel, systemd-coredump or gcore has written, also compressed (.zst, .lz4, .gz, .xz).
    Without it: the newest in the directory of kernel.core_pattern, of systemd-coredump, or /var/crash.
    Nothing of it is run.

    \b
    diag core                              the newest core of this host
    diag core core.4743                    of a crash, or taken with: gcore 4743
    diag core core.4743 --root /mnt/web1   taken on another machine, whose files lie there
    diag core core.4743 --log uwsgi.log    with what the service said of that worker
    """
    from msgspec.structs import replace  # noqa: PLC0415 - loads only when used

    from diag.host import CoreSource  # noqa: PLC0415
    from diag.investigate import core as cores  # noqa: PLC0415

    host = host_for(replay)
    started = host.clock().wall
    with progress("reading the core") as say:
        path = cores.newest(host) if core is None else core
        source = CoreSource(path=path, exe=exe, root=root)
        snapshot = cores.look(
            host, source, logs, lambda text, done: say(bar(text, done)), meanwhile=lambda: _load(form)
        )
    from diag.diagnose import diagnose  # noqa: PLC0415

    report = diagnose(
        snapshot, command=("diag", "core", path), view="core", taken_at=started, families=FAMILIES
    )
    if not with_locals:
        report = replace(report, snapshot=report.snapshot.without_locals())
    finish(report, host, form=form, output=output, verbose=verbose)


def _load(form: str) -> None:
    """Load what is used at the end, while a child still reads C frames."""
    from diag import diagnose  # noqa: PLC0415 - loads only when used
    from diag.rules import rules  # noqa: PLC0415

    del diagnose
    rules(FAMILIES)
    renderer(form)
