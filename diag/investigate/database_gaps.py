"""Threads that wait for a database server which nobody named: what blocks them there stays unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.databases import RULES
from diag.model.facts import Gap
from diag.model.graph import How

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.model.snapshot import SeenThread

_SERVERS = {"mariadbd": "mysql", "mysqld": "mysql", "postgres": "postgresql"}
_PORTS = {"3306": "mysql", "5432": "postgresql"}


def unasked(threads: Iterable[SeenThread]) -> Iterator[Gap]:
    """Say once a server who waits for it, and how to let diag ask it. Servers' own threads do not count."""
    known: dict[str, list[int]] = {}
    for seen in threads:
        wait = seen.wait
        if wait is None or not wait.stuck or wait.resource.kind != "socket" or wait.how is How.IDLE:
            continue
        if wait.session is not None or seen.process.name in _SERVERS or not wait.resource.address:
            continue
        if scheme := _scheme(wait.resource.address, [hold.holder.process for hold in wait.holds]):
            known.setdefault(_dsn(scheme, wait.resource.address), []).append(seen.process.pid)
    for dsn, pids in known.items():
        some = ", ".join(map(str, sorted(set(pids))[:5]))
        yield Gap(
            source=dsn,
            hides=f"what holds up the statements of pid {some} in this database server",
            reason="diag was not told how to log in to it",
            hint=f"--dsn {dsn} (needs GRANT PROCESS; see diag db --help)"
            if dsn.startswith("mysql")
            else f"--dsn {dsn} (see diag db --help)",
            blinds=RULES,
        )


def _scheme(address: str, holders: list[str]) -> str | None:
    port = address.rpartition(":")[2]
    names = (_SERVERS.get(name) for name in holders)
    return next((name for name in names if name), None) or (_PORTS.get(port) if not holders else None)


def _dsn(scheme: str, address: str) -> str:
    if address.startswith(("/", "@")):
        option = "socket" if scheme == "mysql" else "host"
        place = address if scheme == "mysql" else address.rpartition("/")[0]
        return f"{scheme}://USER@/?{option}={place}"
    return f"{scheme}://USER@{address}/"
