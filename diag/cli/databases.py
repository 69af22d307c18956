"""The options by which commands learn of database servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from diag.host import Logins

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.host import Host
    from diag.investigate.databases import Access

F = TypeVar("F", bound="Callable[..., Any]")


def database_options(command: F) -> F:
    """Add --dsn, --dsn-file and --mysql-defaults-file to a command, which gets them as ``logins``."""

    @click.option(
        "--dsn",
        "dsns",
        metavar="URL",
        multiple=True,
        help="A database server that may be asked who blocks whom; again for more. Passwords are better kept "
        "in DIAG_DSN or a file.",
    )
    @click.option(
        "--dsn-file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="DSNs, one a line, in a file of mode 600 (else ~/.config/diag/databases).",
    )
    @click.option(
        "--mysql-defaults-file",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        help="Login of a MySQL server in MySQL's own form ([client] user, password, host, socket).",
    )
    def with_logins(
        *,
        dsns: tuple[str, ...],
        dsn_file: str | None,
        mysql_defaults_file: str | None,
        **options: Any,
    ) -> Any:
        logins = Logins(dsns=dsns, dsn_file=dsn_file, mysql_defaults_file=mysql_defaults_file)
        return command(logins=logins, **options)

    with_logins.__doc__ = command.__doc__
    known = getattr(command, "__click_params__", [])
    with_logins.__click_params__ = [*known, *with_logins.__click_params__]  # type: ignore[attr-defined]
    return with_logins  # type: ignore[return-value]


def literals_option(command: F) -> F:
    """Add --locals, as ``literals``, to a command that shows no variables of programs."""
    return click.option(
        "--locals",
        "literals",
        is_flag=True,
        help="Show the literals of SQL statements and the keys of locked records, else masked.",
    )(command)


def access(host: Host, logins: Logins, *, literals: bool = False) -> Access:
    """Find the servers that may be asked. Raises ``DiagError`` for a DSN that cannot be used."""
    from diag.investigate.databases import Access  # noqa: PLC0415 - --help stays quick

    return Access(host.databases(logins), literals)
