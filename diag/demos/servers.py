"""Finds a database server for a demo, and the client library that both the demo and diag itself need."""

from __future__ import annotations

import glob
import os
import shutil
from importlib.util import find_spec
from typing import NamedTuple

from diag.errors import DiagError


class Kind(NamedTuple):
    """One kind of server."""

    binary: str
    module: str  # the client library's
    extra: str  # of diag, with that library
    package: str  # Debian's


KINDS = (
    Kind("mariadbd", "pymysql", "mysql", "mariadb-server"),
    Kind("postgres", "psycopg", "postgres", "postgresql"),
)
"""Servers that a demo can start, the quickest first."""


def environment() -> dict[str, str]:
    """Where a demo's program finds a server (DEMO_SERVER) and its client library (PYTHONPATH).

    Raises ``DiagError`` that says what to install.
    """
    servers = [(kind, path) for kind in KINDS if (path := _program(kind.binary))]
    for kind, path in servers:
        if place := _library(kind.module):
            return {"DEMO_SERVER": path, "PYTHONPATH": place}
    if servers:
        kind, path = servers[0]
        raise DiagError(
            f"{path} is here, but the client library {kind.module} is not",
            hint=f"pip install 'diag[{kind.extra}]'",
        )
    raise DiagError(
        f"this demo starts a database server of its own, and there is no {_either('binary')} here",
        hint=f"install one ({_either('package')}), or try 'diag demo self-deadlock', which needs nothing",
    )


def _either(field: str) -> str:
    return " or ".join(str(getattr(kind, field)) for kind in KINDS)


def _program(name: str) -> str | None:
    """Look in PATH, and where servers lie: sbin is on no ordinary user's PATH, PostgreSQL's on nobody's."""
    places = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    newest = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)  # Debian's, one a version
    found = shutil.which(name, path=os.pathsep.join([*places, *newest]))
    # A link into a version's directory: PostgreSQL looks for its files beside itself.
    return os.path.realpath(found) if found else None


def _library(module: str) -> str | None:
    """The directory that has a module."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return os.path.dirname(os.path.dirname(spec.origin)) if spec and spec.origin else None
