"""Which database servers to ask, and how to log in to them: options, environment, a private file."""

from __future__ import annotations

import ctypes
import os
import stat

from msgspec.structs import replace

from diag.errors import DiagError, UsageError
from diag.host.dsn import Dsn, parse

ENVIRONMENT = "DIAG_DSN"
"""DSNs, separated by white space: a command line can be read by everybody, an environment can not."""
_FILE_LIMIT = 1 << 20  # bytes


def gather(given: tuple[str, ...], dsn_file: str | None, defaults_file: str | None) -> tuple[Dsn, ...]:
    """Every server that the user has named, once, in the order of options, environment, file.

    Raises ``DiagError`` for a DSN or a file that cannot be used.
    """
    found = [_named(url) for url in (*given, *os.environ.get(ENVIRONMENT, "").split())]
    for url in given:
        _hide(url)
    if defaults_file is not None:
        _readable(defaults_file)
        found.append(Dsn(dialect="mysql", scheme="mysql", options=(("defaults-file", defaults_file),)))
    if service := os.environ.get("PGSERVICE"):  # libpq reads the rest, PGPASSFILE among it
        found.append(Dsn(dialect="postgresql", scheme="postgresql", options=(("service", service),)))
    found.extend(_from_file(dsn_file))
    return tuple({dsn.public: dsn for dsn in reversed(found)}.values())[::-1]


def _named(given: str) -> Dsn:
    """Read a DSN, or the path of a SQLite file; SQLAlchemy's sqlite:///x.db is one of this directory."""
    if "://" not in given and ("/" in given or os.path.isfile(given)):
        return Dsn(dialect="sqlite", scheme="sqlite", path=os.path.realpath(given))
    dsn = parse(given)
    if dsn.dialect != "sqlite":
        return dsn
    path = os.path.realpath(f"/{dsn.path.lstrip('/')}")
    relative = os.path.realpath(dsn.path.lstrip("/"))
    return replace(dsn, path=relative if os.path.exists(relative) and not os.path.exists(path) else path)


def _from_file(path: str | None) -> list[Dsn]:
    chosen = path or _default_file()
    if path is None and not os.path.isfile(chosen):
        return []
    return [_named(line) for line in map(str.strip, _private(chosen)) if line and not line.startswith("#")]


def _default_file() -> str:
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "diag", "databases")


def _private(path: str) -> list[str]:
    """Read a file that may hold passwords: one that others can read or write is refused."""
    about = _readable(path)
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DiagError(f"{path} may be read or changed by others", hint=f"chmod 600 {path}")
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(_FILE_LIMIT).splitlines()


def _readable(path: str) -> os.stat_result:
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            raise UsageError(f"{path} is not a file", hint="name a regular file")
        with open(path, "rb"):
            return about
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a file you may read") from None


def _hide(url: str) -> None:
    """Overwrite the password in our own command line, where ps(1) shows it to everybody.

    The kernel reads /proc/PID/cmdline from our memory: fields 48 and 49 of proc_pid_stat(5) say where.
    """
    password = _named(url).password
    if not password:
        return
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        if not 0 < start < end:
            return
        words = ctypes.string_at(start, end - start)
        secret = os.fsencode(url)
        at = words.find(secret)
        while at >= 0:
            shown = os.fsencode(parse(url).public)[: len(secret)]
            ctypes.memmove(start + at, shown.ljust(len(secret), b"\0"), len(secret))
            at = words.find(secret, at + len(secret))
    except (OSError, ValueError, IndexError):
        return
