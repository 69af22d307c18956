"""Locks by existence: pid files, soft lock files, and symbolic links that name their owner."""

from __future__ import annotations

import posixpath
import re
import stat
from typing import TYPE_CHECKING

from diag.collectors import setting
from diag.model.facts import Evidence
from diag.model.graph import Hold
from diag.model.snapshot import SoftLock
from diag.waits import soft_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.investigate.lock_graph import LockGraph
    from diag.investigate.targets import Target
    from diag.model.graph import Resource

LIMIT = 1024
"""Bytes of a file that is a lock by existence; a larger one is something else."""
MOST = 500
"""Files of an asked directory that are looked at."""
SLACK = 2.0
"""Seconds that a file may be older than its owner says: clocks and file systems round."""

_NAMES = (".pid", ".lock", ".lck")
_ONLY_EXISTS = re.compile(r"\.pid$|^LCK\.\.")
"""Names of files that are locks by nothing but their existence: pid files, UUCP's locks of lines."""
# "host:123", "host.123", "host-123", "127.0.1.1:+123", "user@host.123:1700000000": what Emacs,
# browsers and mail programs link to; Emacs adds the time of the boot.
_LINK = re.compile(r"^(?:[^/@]*@)?(?P<host>[^/]*?)[:.-]\+?(?P<pid>\d{1,9})(?::\d{9,})?$")
_PID = re.compile(r"^\s*(?:pid\s*[:=]\s*)?(?P<pid>\d{1,9})\s*$", re.IGNORECASE)


def collect(inquiry: Inquiry, graph: LockGraph) -> tuple[SoftLock, ...]:
    """Read each asked file, and the likely ones of an asked directory, that the kernel holds no lock on.

    Those whose owner lives become holds of the graph.
    """
    found = []
    for path, target in _candidates(inquiry.host, graph.targets):
        if any(item.path in (path, *target.names) and item.locks for item in graph.descriptors):
            continue
        if soft := _look(inquiry, graph, path, target):
            found.append(soft)
            if soft.alive and soft.owner:
                graph.soft[path] = (_hold(inquiry, soft, soft.owner),)
            elif target.form == "directory" and soft.owner:
                graph.soft[path] = ()  # somebody may poll for it
    return tuple(found)


def adopt(inquiry: Inquiry, graph: LockGraph, path: str) -> Resource | None:
    """Take a file into the graph that a thread polls for as a lock; None where it names no owner."""
    if path not in inquiry.soft_locks:
        read = _read(inquiry.host, path)
        soft = _judge(inquiry, path, *read) if read else None
        if soft is None or soft.owner is None:
            return None
        inquiry.soft_locks[path] = soft
        if soft.alive:
            graph.soft[path] = (_hold(inquiry, soft, soft.owner),)
    return inquiry.soft_locks[path].resource


def leave(inquiry: Inquiry, graph: LockGraph, path: str) -> None:
    """Take a file out again: nobody polls for it after all."""
    inquiry.soft_locks.pop(path, None)
    graph.soft.pop(path, None)


def _candidates(host: Host, targets: tuple[Target, ...]) -> Iterator[tuple[str, Target]]:
    for target in targets:
        if target.form == "directory":
            try:
                names = host.names(target.path)
            except OSError:
                continue
            likely = [name for name in names if name.endswith(_NAMES) or _ONLY_EXISTS.search(name)]
            yield from ((posixpath.join(target.path, name), target) for name in likely[:MOST])
            yield target.path, target
        elif target.form in ("file", "missing"):
            yield target.path, target


def _look(inquiry: Inquiry, graph: LockGraph, path: str, target: Target) -> SoftLock | None:
    if path == target.path and target.form == "directory":
        return _unowned(inquiry, graph, path)
    read = _read(inquiry.host, path)
    if read is None:
        return None
    text, written = read
    soft = _judge(inquiry, path, text, written)
    if not soft.text:
        return _unowned(inquiry, graph, path)
    # A number in a file whose name does not say what it is, in a directory of many: no claim.
    return soft if soft.only_exists or target.form != "directory" else None


def _unowned(inquiry: Inquiry, graph: LockGraph, path: str) -> SoftLock:
    """A lock that names nobody: an empty file, a directory."""
    limited = setting.collect(inquiry.host).initial_pid_namespace is False
    opened = any(item.path == path for item in graph.descriptors)
    return SoftLock(
        path=path,
        resource=soft_lock.resource_of(path),
        owner=None,
        host=None,
        alive=None,
        abandoned=not (limited or opened or graph.files.denied),
    )


def _read(host: Host, path: str) -> tuple[str, float] | None:
    """Read what a lock file says; None for what can be none: too large, not text, not a file."""
    try:
        about = host.status(path, follow=False)
        if stat.S_ISLNK(about.mode):
            link = host.link(path)
            return (link, about.modified) if _LINK.match(link) else None
        if not stat.S_ISREG(about.mode) or about.size > LIMIT:
            return None
        return host.read(path, LIMIT).decode("utf-8"), about.modified
    except (OSError, UnicodeDecodeError):
        return None


def parse(text: str) -> tuple[int | None, str | None]:
    """Find the owner in the text of a lock file: pid, and host where it names one.

    Known forms: a line with a pid alone; pid and host on two lines, either first; ``host:pid``.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= 3:
        return None, None
    pids = [int(match["pid"]) for line in lines if (match := _PID.match(line))]
    names = [line for line in lines if not _PID.match(line)]
    if not pids and len(lines) == 1 and (link := _LINK.match(lines[0])):
        return int(link["pid"]), link["host"] or None
    if len(pids) != 1 or any(" " in name or "=" in name for name in names):
        return None, None
    return pids[0], names[0] if names else None


def _judge(inquiry: Inquiry, path: str, text: str, written: float) -> SoftLock:
    pid, host = parse(text)
    alive: bool | None = None
    reused = False
    # Below /proc/PID/root it is a file of another mount namespace, and maybe a pid of another one too.
    if pid and _is_here(inquiry.host, host) and not path.startswith("/proc/"):
        process = inquiry.process(pid)
        reused = process is not None and process.since > written + SLACK
        alive = process is not None and not reused and process.state != "Z"
    return SoftLock(
        path=path,
        resource=soft_lock.resource_of(path),
        owner=pid,
        host=host,
        alive=alive,
        reused=reused,
        written=written,
        text=text.strip()[:200],
        only_exists=bool(_ONLY_EXISTS.search(posixpath.basename(path))) or host is not None,
    )


def _is_here(host: Host, named: str | None) -> bool:
    """Whether the host that a lock file names is this one; loopback addresses are."""
    if named is None or named.startswith("127.") or named == "localhost":
        return True
    return named.partition(".")[0] == host.info.name.partition(".")[0]


def _hold(inquiry: Inquiry, soft: SoftLock, owner: int) -> Hold:
    process = inquiry.process(owner)
    return Hold(
        holder=inquiry.actor(owner),
        resource=soft_lock.resource_of(soft.path),
        since=process.since if process else None,
        certain=False,  # the file says so; nothing keeps it from lying
        evidence=(Evidence(source=soft.path, text=soft.text),),
    )
