"""Where the user says that the files of crashed programs lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from diag.collectors import log_sources
from diag.errors import UsageError
from diag.host.names import to_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.host import Host


class Places(NamedTuple):
    """Where to look for files; empty: this host's own places."""

    root: str | None = None  # the crashed system's root, or a directory with its files
    debug: tuple[str, ...] = ()  # directories laid out as /usr/lib/debug is


def places(host: Host, root: str | None, debug: Iterable[str]) -> Places:
    """Check the directories that the user named. Raises ``UsageError``."""
    named = Places(None if root is None else to_text(root), tuple(map(to_text, debug)))
    for path in (*((named.root,) if named.root is not None else ()), *named.debug):
        if not log_sources.is_directory(host, path):
            raise UsageError(f"{path} is no directory that can be read", hint="name the directory itself")
    return named
