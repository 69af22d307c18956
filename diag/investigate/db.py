"""``diag db``: from a server's lock waits to the processes behind its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.investigate.databases import Databases
from diag.investigate.explore import explore
from diag.investigate.inquiry import Inquiry
from diag.investigate.wait_chains import chains_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.host import Host
    from diag.investigate.databases import Access
    from diag.model.snapshot import Snapshot


def look(host: Host, access: Access, *, pause: bool, say: Callable[[str], None] = lambda _: None) -> Snapshot:
    """Ask the servers, then look at every process of this host that waits there or is waited for.

    Raises ``DiagError`` for a SQLite file that does not exist.
    """
    if not access.files:
        return _servers(host, access, pause=pause, say=say)
    from diag.investigate import sqlite_database  # noqa: PLC0415 - loads only when used

    files = sqlite_database.look(host, access.files, pause=pause)
    return _both(_servers(host, access, pause=pause, say=say), files) if access.servers else files


def _servers(host: Host, access: Access, *, pause: bool, say: Callable[[str], None]) -> Snapshot:
    inquiry = Inquiry(host, pause=pause)
    inquiry.databases = Databases(inquiry, access)
    pids = inquiry.databases.pids()
    snapshot = explore(inquiry, pids, say)
    return replace(snapshot, roots=pids, chains=tuple(chains_from(snapshot, pids)))


def _both(servers: Snapshot, files: Snapshot) -> Snapshot:
    """Join two looks; of a thread that both have seen, the one that knows of servers counts."""
    known = {(seen.process.pid, seen.thread.tid) for seen in servers.threads}
    return replace(
        servers,
        processes=tuple({each.pid: each for each in (*files.processes, *servers.processes)}.values()),
        threads=(
            *servers.threads,
            *(seen for seen in files.threads if (seen.process.pid, seen.thread.tid) not in known),
        ),
        locks=(*servers.locks, *files.locks),
        asked=files.asked,
        waits=(*servers.waits, *(wait for wait in files.waits if wait not in servers.waits)),
        databases=(*servers.databases, *files.databases),
        gaps=(*servers.gaps, *(gap for gap in files.gaps if gap not in servers.gaps)),
    )
