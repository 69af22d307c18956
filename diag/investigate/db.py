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
    """Ask the servers, then look at every process of this host that waits there or is waited for."""
    inquiry = Inquiry(host, pause=pause)
    inquiry.databases = Databases(inquiry, access)
    pids = inquiry.databases.pids()
    snapshot = explore(inquiry, pids, say)
    return replace(snapshot, roots=pids, chains=tuple(chains_from(snapshot, pids)))
