"""The systemd journal, read by its own program: this host's, or files copied from another.

Sources: journalctl(1); the files' first bytes are those of systemd's journal-def.h.
"""

from __future__ import annotations

import errno
from datetime import timezone
from typing import TYPE_CHECKING

from diag.collectors.crash_lines import NEEDLES, follows
from diag.collectors.log_events import Dating, of_batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host
    from diag.model.crash import CrashEvent

NAME = "journal"
MAGIC = b"LPKSHHRH"

LINES = 1_000_000
"""Entries read of this host's journal, the newest; files that were named are read whole."""

_PATIENCE = 60.0
"""Seconds journalctl may take for this host's journal."""

_LONG = 1800.0
"""Seconds it may take for a file that somebody named."""

_JOURNALCTL = ("journalctl", "--quiet", "--no-pager", "--all", "--output=short-unix")


def following(since: float | None = None, directory: str | None = None) -> tuple[str, ...]:
    """Return the command that prints what is added to this host's journal, or to the one in a directory."""
    begin = _begin(since) or ("--lines=0",)
    return (*_JOURNALCTL, "--follow", *begin, *([f"--directory={directory}"] if directory else ()))


def read(host: Host, since: float | None = None) -> Iterator[CrashEvent]:
    """Read the crash lines of this host's journal, kernel's and services', from ``since`` (epoch) on.

    Raises ``OSError``; EFBIG where there is more of it than ``LINES``.
    """
    argv = (*_JOURNALCTL, f"--lines={LINES}", *_begin(since))
    yield from _search(host, NAME, argv, _PATIENCE, most=LINES)


def read_file(host: Host, path: str, since: float | None = None) -> Iterator[CrashEvent]:
    """Read the crash lines of one file of a journal. Raises ``OSError``."""
    yield from _search(host, path, (*_JOURNALCTL, f"--file={path}", *_begin(since)), _LONG)


def _begin(since: float | None) -> tuple[str, ...]:
    return () if since is None else (f"--since=@{max(0, int(since))}",)


def is_file(host: Host, path: str) -> bool:
    """Whether a file is one of a journal, by its first bytes; False where it cannot be read."""
    try:
        return host.read_at(path, 0, len(MAGIC)) == MAGIC
    except OSError:
        return False


def _search(
    host: Host, name: str, argv: tuple[str, ...], patience: float, most: int = 0
) -> Iterator[CrashEvent]:
    dating = Dating(host.clock().wall, timezone.utc)
    try:
        found = host.search_output(argv, NEEDLES, follows, timeout=patience, most=most)
        yield from of_batches(name, found, dating)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise OSError(
                errno.EFBIG, f"its newest {most:,} entries were read, and none that are older"
            ) from error
        if not isinstance(error, FileNotFoundError):
            raise
        if name == NAME:
            raise
        raise OSError(errno.ENOTSUP, "journal files need journalctl, which is not installed here") from error
