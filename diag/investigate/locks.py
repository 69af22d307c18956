"""``diag locks``: from paths to every file lock on them.

The pass over all descriptors of the host takes longest, so little is loaded before it begins; what comes
later is loaded meanwhile (``LATER``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import file_locks
from diag.errors import DiagError
from diag.investigate import lock_files, targets
from diag.investigate.lock_files import LockFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.collectors.file_locks import FileLock
    from diag.host import Host
    from diag.model.snapshot import Snapshot

LATER = ("diag.investigate.lock_look", "diag.investigate.lock_lines")
"""Modules that are used after the pass."""


def look(host: Host, paths: Sequence[str], *, pause: bool) -> Snapshot:
    """Collect all that bears on the locks of ``paths`` (none: every file lock on the host).

    Raises ``DiagError`` for a path that can not be looked at, or that nobody has ever locked.
    """
    files = LockFiles(
        host, targets.resolve(host, paths), _table(host), () if paths else lock_files.unlisted(host)
    )
    _refuse_missing(files)
    from diag.investigate.lock_look import follow  # noqa: PLC0415 - by now it is loaded

    return follow(host, files, pause=pause)


def _table(host: Host) -> tuple[FileLock, ...]:
    try:
        return file_locks.collect(host)
    except OSError as error:
        raise DiagError(
            f"/proc/locks: {error.strerror}",
            hint="diag needs /proc of this host (in a container: the container's own is enough)",
        ) from error


def _refuse_missing(files: LockFiles) -> None:
    """A path that does not exist is fine only as long as its deleted file is still open."""
    for target in files.targets:
        if target.form == "missing" and not files.openers(target):
            raise DiagError(
                f"{target.path}: no such file, and no process has a deleted file of that name open",
                hint="give the path of the lock file as the locking program names it; "
                "without a path, 'diag locks' shows every lock on the host",
            )
