"""``diag db``: the locks of database servers and SQLite files, with the code behind each."""

from __future__ import annotations

import click

from diag.cli.common import finish, host_for, output_options, progress
from diag.cli.databases import access, database_options, literals_option
from diag.errors import UsageError

FAMILIES = ("D", "L", "T", "P")


@click.command(
    "db",
    short_help="A database server's locks, with the client's line of code behind each session.",
    epilog="Least rights, MySQL and MariaDB: CREATE USER diag@localhost IDENTIFIED BY '...'; GRANT PROCESS "
    "ON *.* TO diag@localhost; and for metadata locks and last statements GRANT SELECT ON "
    "performance_schema.* TO diag@localhost. PostgreSQL: CREATE ROLE diag LOGIN; GRANT pg_read_all_stats TO "
    "diag. Passwords: DIAG_DSN in the environment, ~/.config/diag/databases (mode 600), "
    "--mysql-defaults-file, or PGSERVICE and PGPASSFILE. Exit codes: 0 nothing "
    "found, 1 diag failed, 2 usage, 3 something found, 4 nothing found but something was hidden.",
)
@click.argument("given", metavar="[DSN]...", nargs=-1)
@literals_option
@click.option("--no-pause", is_flag=True, help="Never stop a client, not even for a moment.")
@output_options
@database_options
def command(
    *,
    given: tuple[str, ...],
    literals: bool,
    no_pause: bool,
    logins: object,
    form: str,
    output: str | None,
    replay: str | None,
    verbose: bool,
) -> None:
    """Show who waits for whom in the database servers DSN, and what each client of this host is doing.

    diag asks in a connection of its own, read only, with time limits, and takes no lock. DSN may also be a
    file of SQLite: then it shows all locks on it, and what its journal or WAL tells.

    \b
    diag db mysql://diag@127.0.0.1:3306/
    diag db 'mysql://diag@localhost/?socket=/run/mysqld/mysqld.sock'
    diag db postgresql://diag@127.0.0.1:5432/shop
    diag db 'postgresql://diag@/shop?host=/run/postgresql'
    diag db --mysql-defaults-file ~/.my.cnf
    diag db /var/lib/app/app.db
    """
    from msgspec.structs import replace  # noqa: PLC0415 - loads only when used

    from diag.diagnose import diagnose  # noqa: PLC0415
    from diag.host import Logins  # noqa: PLC0415
    from diag.investigate import db  # noqa: PLC0415

    assert isinstance(logins, Logins)
    host = host_for(replay)
    servers = access(host, replace(logins, dsns=(*given, *logins.dsns)), literals=literals)
    if not servers.dsns:
        raise UsageError(
            "which database server?", hint="diag db mysql://user@host:3306/, or diag db /path/of/sqlite.db"
        )
    with progress("asking the database servers") as say:
        taken_at = host.clock().wall
        snapshot = db.look(host, servers, pause=not no_pause, say=say)
    report = diagnose(
        snapshot,
        command=("diag", "db", *servers.dsns),
        view="db",
        taken_at=taken_at,
        families=FAMILIES,
    )
    finish(report, host, form=form, output=output, verbose=verbose)
