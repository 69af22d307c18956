"""Which logs a host has, and how to read the crash lines of each.

A source is searched for needles only; what a line means is the business of ``crash_lines``.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from diag.collectors import journal
from diag.collectors.crash_lines import NEEDLES, follows
from diag.collectors.log_events import Dating, events, in_memory, of_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diag.host import Host
    from diag.model.crash import CrashEvent

DIRECTORY = "/var/log"
RING = "kernel ring buffer"
DEPTH = 6
"""Levels of directories looked into: a sosreport has its logs four levels down."""

_NAMES = re.compile(r"(?:messages|kern\.log|syslog)(?:[.-]\d+)*(?:\.(?:gz|bz2|xz|zst))?")


def files(host: Host) -> tuple[str, ...]:
    """List the system's log files with their rotations."""
    try:
        names = host.names(DIRECTORY)
    except FileNotFoundError:
        return ()
    return tuple(f"{DIRECTORY}/{name}" for name in names if _NAMES.fullmatch(name))


def rotated(path: str) -> bool:
    """Whether nobody writes to this file of ``files`` any more, as its name tells."""
    return re.search(r"[.-]\d|\.(?:gz|bz2|xz|zst)$", path.rpartition("/")[2]) is not None


def below(host: Host, path: str, hidden: Callable[[str, OSError], None], depth: int = DEPTH) -> Iterator[str]:
    """List the regular files below a directory; links are not followed.

    ``hidden`` is told of each directory or file that cannot be looked at; the rest is still listed.
    """
    try:
        names = host.names(path)
    except OSError as error:
        hidden(path, error)
        return
    for name in names:
        inner = f"{path.rstrip('/')}/{name}"
        try:
            mode = host.status(inner, follow=False).mode
        except FileNotFoundError:
            continue  # rotated away meanwhile
        except OSError as error:
            hidden(inner, error)
            continue
        if stat.S_ISREG(mode):
            yield inner
        elif stat.S_ISDIR(mode) and depth:
            yield from below(host, inner, hidden, depth - 1)


def is_directory(host: Host, path: str) -> bool:
    """Whether a path names a directory; False where it cannot be told."""
    try:
        return path != "-" and stat.S_ISDIR(host.status(path).mode)
    except OSError:
        return False


def soon(host: Host, paths: Sequence[str]) -> None:
    """Tell the host which files ``read_file`` will be asked for."""
    host.search_soon(paths, NEEDLES, follows)


def read_file(host: Host, path: str, since: float | None = None) -> Iterator[CrashEvent]:
    """Read the crash lines of a file; ``-`` is standard input. Raises ``OSError``.

    What was logged before ``since`` (epoch) may be left out where that saves time.
    """
    if path != "-" and journal.is_file(host, path):
        yield from journal.read_file(host, path, since)
        return
    reference = host.clock().wall if path == "-" else host.status(path).modified
    yield from of_batches(path, host.search(path, NEEDLES, follows), Dating(reference, host.info.zone))


def read_ring(host: Host) -> Iterator[CrashEvent]:
    """Read the kernel ring buffer, whose clock counts from boot. Raises ``OSError``."""
    clock = host.clock()
    dating = Dating(clock.wall, host.info.zone, boot=clock.wall - clock.monotonic)
    yield from events(RING, in_memory(host.kernel_log()), dating)
