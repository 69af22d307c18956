"""Client libraries of database servers, each in its file, each loaded only when its server is asked.

A new kind of server is one file here with an ``ask`` like that of the others, and one line in ``DRIVERS``.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diag.host.records import Answers, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diag.host.dsn import Dsn

CONNECT = 3.0
"""Seconds to wait for a server to answer the telephone."""
STATEMENT = 3.0
"""Seconds the server may work on one statement."""
LIMIT = 10.0
"""Seconds for all of it: a server may also answer a byte at a time."""
MOST_ROWS = 20_000
"""Rows taken of one answer."""


class Conversation(Protocol):
    """Asks a server in a connection of its own.

    ``closing`` is given, as soon as it exists, a function that breaks the connection off. Raises only
    what is a bug; what the server or the network says becomes a ``Problem``.
    """

    def __call__(
        self, dsn: Dsn, statements: Sequence[str], closing: Callable[[Callable[[], object]], None]
    ) -> Answers:
        """Run the statements, one by one, read only."""


class Driver(NamedTuple):
    """One client library."""

    module: str
    package: str  # as pip knows it
    extra: str  # of diag


DRIVERS = {
    "mysql": Driver("diag.host.drivers.mysql", "PyMySQL", "mysql"),
    "postgresql": Driver("diag.host.drivers.postgresql", "psycopg", "postgres"),
}


def ask(dsn: Dsn, statements: Sequence[str]) -> Answers:
    """Ask a server, within the time limit whatever it does."""
    driver = DRIVERS.get(dsn.dialect)
    if driver is None:
        return Answers(
            problem=Problem("driver", "", f"this version of diag cannot ask {dsn.dialect} servers")
        )
    try:
        conversation: Conversation = import_module(driver.module).ask
    except ImportError:
        text = f"{driver.package} is not installed: pip install 'diag[{driver.extra}]'"
        return Answers(problem=Problem("driver", "", text))
    box: list[Answers | BaseException] = []
    breaks: list[Callable[[], object]] = []

    def talk() -> None:
        try:
            box.append(conversation(dsn, statements, breaks.append))
        except BaseException as error:  # noqa: BLE001 - handed on to who asked
            box.append(error)

    worker = threading.Thread(target=talk, daemon=True)
    worker.start()
    worker.join(LIMIT)
    if not box:
        for each in breaks:
            each()
        return Answers(problem=Problem("timeout", "", f"no answer within {LIMIT:g} s"))
    if isinstance(box[0], BaseException):
        raise box[0]
    return box[0]
