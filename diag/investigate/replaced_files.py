"""Which living processes run code whose file was replaced since."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from diag.collectors import maps
from diag.model.code import ReplacedFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.host import Host
    from diag.model.facts import Process

MOST = 32
"""Processes looked at, and files of each."""

_DELETED = " (deleted)"


def look(host: Host, processes: Iterable[Process]) -> tuple[ReplacedFile, ...]:
    """Compare what these processes have mapped as code with what the paths name now."""
    found: list[ReplacedFile] = []
    for process in list(processes)[:MOST]:
        paths = dict.fromkeys(
            item.path.removesuffix(_DELETED)
            for item in maps.collect(host, process.pid)
            if "x" in item.access and item.path.startswith("/") and item.path.endswith(_DELETED)
        )
        found += [one for path in list(paths)[:MOST] if (one := _replaced(host, process, path))]
    return tuple(found)


def _replaced(host: Host, process: Process, path: str) -> ReplacedFile | None:
    """Tell what the path names now; None where it names nothing: deleted on purpose, as libffi does."""
    try:
        now = host.status(f"/proc/{process.pid}/root{path}")
    except OSError:
        return None
    if not stat.S_ISREG(now.mode):
        return None
    return ReplacedFile(
        pid=process.pid,
        started=process.started,
        process=process.name,
        path=path,
        now=now.inode,
        changed=now.changed,
    )
