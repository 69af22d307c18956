"""How to reach a database server: ``mysql://user:password@host:port/?option=value``.

The password stays inside the host: everything outside knows a server by its DSN without secrets.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec

from diag.errors import UsageError

SCHEMES = {
    "mysql": "mysql", "mariadb": "mysql",
    "postgresql": "postgresql", "postgres": "postgresql",
    "sqlite": "sqlite",
}  # fmt: skip
"""Scheme of a DSN -> name of its driver in ``diag.host.drivers``."""

_SECRET_OPTIONS = frozenset({"password", "passwd", "pwd", "sslpassword", "ssl_key_password"})
_EXAMPLE = (
    "write it like mysql://user@host:3306/, mysql://user@localhost/?socket=/run/mysqld/mysqld.sock, "
    "postgresql://user@host/name, or name a SQLite file: /path/app.db"
)


class Dsn(msgspec.Struct, frozen=True, kw_only=True):
    """One server, and who asks it. Parts that were left out are empty."""

    dialect: str  # "mysql", "postgresql", "sqlite"
    scheme: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: int | None = None
    path: str = ""  # after the host, with its slash
    options: tuple[tuple[str, str], ...] = ()

    @property
    def database(self) -> str:
        """The name after the host's slash."""
        return self.path.lstrip("/")

    def option(self, *names: str) -> str | None:
        """The first of these options that was given."""
        return next((value for name in names for key, value in self.options if key == name), None)

    @property
    def public(self) -> str:
        """The DSN without its secrets: what is shown, recorded and used as a key."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        shown = [(name, value) for name, value in self.options if name not in _SECRET_OPTIONS]
        query = f"?{urlencode(shown, safe='/')}" if shown else ""
        return f"{self.scheme}://{user}{host}{port}{self.path}{query}"


def parse(url: str) -> Dsn:
    """Read a DSN. Raises ``UsageError``, whose message never repeats what may be a password."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise UsageError(f"a DSN has to begin with one of {known}", hint=_EXAMPLE)
    try:
        parts = urlsplit(url)
        port = parts.port
        options = tuple(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise UsageError(
            f"this {scheme} DSN cannot be understood",
            hint=f"{_EXAMPLE}; write / ? # @ and : of a password as %2F %3F %23 %40 and %3A",
        ) from None
    if SCHEMES[scheme] == "sqlite":
        return Dsn(dialect="sqlite", scheme="sqlite", path=unquote(f"{parts.netloc}{parts.path}"))
    given = dict(options)
    return Dsn(
        dialect=SCHEMES[scheme],
        scheme=scheme,
        user=unquote(parts.username or "") or given.get("user", ""),
        password=unquote(parts.password or "") or next((given[n] for n in _SECRET_OPTIONS if n in given), ""),
        host=unquote(parts.hostname or ""),
        port=port,
        path=parts.path,
        options=options,
    )
