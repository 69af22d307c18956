"""Database servers: one kind of server a file, pure ``parse_*`` of rows and a thin ``collect``.

A new kind is one file here, with a ``collect`` like that of the others, and one line in ``DIALECTS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diag.host import Host, Problem
    from diag.model.databases import Database

RULES = frozenset({"D001", "D002", "D003", "D004"})
"""What an unanswered question blinds."""


class Dialect(NamedTuple):
    """One kind of server."""

    schemes: tuple[str, ...]  # of its DSNs
    module: str  # with collect(host, dsn, literals=…) -> Found
    grants: str  # what the reader's login needs, no more


class Found(NamedTuple):
    """What came of asking one server."""

    database: Database | None
    gaps: tuple[Gap, ...] = ()


DIALECTS = (
    Dialect(
        ("mysql", "mariadb"),
        "diag.collectors.databases.mysql",
        "GRANT PROCESS ON *.* TO user; GRANT SELECT ON performance_schema.* TO user",
    ),
    Dialect(
        ("postgresql", "postgres"),
        "diag.collectors.databases.postgresql",
        "GRANT pg_read_all_stats TO user",
    ),
)


def collect(host: Host, dsn: str, *, literals: bool = False) -> Found:
    """Ask the server of a DSN for its sessions and lock waits."""
    scheme = dsn.partition("://")[0]
    dialect = next((dialect for dialect in DIALECTS if scheme in dialect.schemes), None)
    if dialect is None:
        gap = Gap(
            source=dsn,
            hides="the locks of this server",
            reason=f"this version of diag cannot ask {scheme} servers",
            hint="leave this --dsn out",
            blinds=RULES,
        )
        return Found(None, (gap,))
    found: Found = import_module(dialect.module).collect(host, dsn, literals=literals)
    return found


_HINTS = {
    "refused": "is it up, and does it listen there? Name another host, port or socket in --dsn",
    "timeout": "it accepts connections but does not answer: the server itself may be stuck; "
    "look at its process: diag stacks PID",
    "denied": "check user and password; put them into ~/.config/diag/databases (mode 600) or DIAG_DSN, "
    "not on the command line",
    "limit": "the server takes no more connections: name a login that may use its reserved one "
    "(--dsn of a user with CONNECTION ADMIN or SUPER), or raise max_connections (a user's own: "
    "max_user_connections)",
    "tls": "the two do not agree about TLS: add ?ssl_ca=/path/to/ca.pem to the DSN, or ?ssl=1 to leave the "
    "certificate unchecked; leave both out where the server has no TLS",
    "lost": "the server went away meanwhile: look again once it is back",
}


def unanswered(
    dsn: str, problem: Problem, *, grants: str = "", hints: Mapping[str, str] | None = None
) -> Gap:
    """Say why a server could not be asked, and what lifts that; ``hints``: a dialect's own, by kind."""
    known = {**_HINTS, **(hints or {})}
    hint = problem.text if problem.kind == "driver" else known.get(problem.kind, "check the DSN")
    if problem.kind == "driver" and ": " in problem.text:
        hint = problem.text.partition(": ")[2]
    if problem.kind == "privilege" and grants:
        hint = grants
    code = f" (error {problem.code})" if problem.code else ""
    return Gap(
        source=dsn,
        hides="who holds the locks of this server, and who waits",
        reason=f"{problem.text}{code}",
        hint=hint,
        blinds=RULES,
    )
