"""Processes, from /proc/PID/{stat,status,cmdline,cgroup,exe} (proc_pid_stat(5) and its siblings)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.errors import MalformedError
from diag.model.facts import Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.host import Clock, Host

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h
_ARGV_LIMIT = 32 << 10  # bytes of a command line worth keeping


class Stat(dict[str, str]):
    """The fields of a stat line that are used, by their names in proc_pid_stat(5)."""


_FIELDS = {
    "state": 0,
    "ppid": 1,
    "pgrp": 2,
    "flags": 6,
    "utime": 11,
    "stime": 12,
    "num_threads": 17,
    "starttime": 19,
}


def parse_stat(text: str) -> Stat:
    """Parse a stat line, whose name field may itself hold spaces and parentheses."""
    head, found, tail = text.rpartition(")")
    fields = tail.split()
    if not found or len(fields) <= _FIELDS["starttime"]:
        raise MalformedError(f"not a stat line: {text[:80]!r}")
    pid, _, name = head.partition(" (")
    return Stat({"pid": pid, "comm": name} | {key: fields[n] for key, n in _FIELDS.items()})


def parse_status(text: str) -> dict[str, str]:
    """Parse ``Key: value`` lines (/proc/PID/status, fdinfo)."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, colon, value in pairs if colon}


def parse_argv(data: bytes) -> tuple[str, ...]:
    """Split a command line; a process may have overwritten it with one text (setproctitle)."""
    text = data.rstrip(b"\0 ").decode("utf-8", "replace")
    return tuple(text.split("\0")) if text else ()


def pids(host: Host) -> tuple[int, ...]:
    """All processes that can be seen, in order; diag itself left out."""
    return tuple(pid for pid in host.pids() if pid != host.info.pid)


def started(host: Host, pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it is gone."""
    stat = _load(host, f"/proc/{pid}/stat")
    return int(parse_stat(stat)["starttime"]) if stat else None


def collect(host: Host, pid: int, clock: Clock) -> Process | None:
    """Describe one process with all that anybody may read; None when it is gone."""
    text = _load(host, f"/proc/{pid}/stat")
    if text is None:
        return None
    stat = parse_stat(text)
    status = parse_status(_load(host, f"/proc/{pid}/status") or "")
    kernel = bool(int(stat["flags"]) & _KERNEL_THREAD)
    cgroup = None if kernel else _load(host, f"/proc/{pid}/cgroup")
    namespaced = (status.get("NSpid") or "").split()
    ticks = int(stat["starttime"])
    return Process(
        pid=pid,
        ppid=int(stat["ppid"]),
        started=ticks,
        since=clock.wall - clock.boot + ticks / host.info.ticks,
        name=stat["comm"],
        state=stat["state"],
        kernel=kernel,
        argv=() if kernel or stat["state"] == "Z" else _argv(host, pid),
        uid=int(status["Uid"].split()[0]) if "Uid" in status else None,
        exe=None if kernel else _exe(host, pid),
        cgroup=(cgroup or "").strip() or None,
        container_pid=int(namespaced[-1]) if len(namespaced) > 1 else None,
        tracer=int(status.get("TracerPid", "0")) or None,
        frozen=_frozen(host, cgroup or ""),
        threads=int(stat["num_threads"]),
        caught=int(status["SigCgt"], 16) if "SigCgt" in status else None,
    )


def collect_all(host: Host, wanted: Iterator[int], clock: Clock) -> Iterator[Process]:
    """Describe those of ``wanted`` that still live."""
    for pid in wanted:
        if process := collect(host, pid, clock):
            yield process


def group(host: Host, pid: int) -> int | None:
    """The process group of a process; None when it is gone."""
    stat = _load(host, f"/proc/{pid}/stat")
    return int(parse_stat(stat)["pgrp"]) if stat else None


def family(host: Host, *roots: int) -> tuple[int, ...]:
    """``roots`` and all their descendants, parents before children.

    Read from each process's ppid: /proc/PID/task/*/children needs CONFIG_PROC_CHILDREN.
    """
    children: dict[int, list[int]] = {}
    for pid in pids(host):
        if text := _load(host, f"/proc/{pid}/stat"):
            children.setdefault(int(parse_stat(text)["ppid"]), []).append(pid)
    found = dict.fromkeys(roots)
    waiting = list(found)
    for pid in waiting:
        new = [child for child in children.get(pid, ()) if child not in found]
        found.update(dict.fromkeys(new))
        waiting.extend(new)
    return tuple(found)


def owner_of_thread(host: Host, tid: int) -> int | None:
    """The process a thread id belongs to: /proc answers to both. None when there is none."""
    text = _load(host, f"/proc/{tid}/status")
    return int(parse_status(text)["Tgid"]) if text else None


def _argv(host: Host, pid: int) -> tuple[str, ...]:
    try:
        return parse_argv(host.read(f"/proc/{pid}/cmdline", _ARGV_LIMIT))
    except OSError:  # it may be in D state: its name is enough
        return ()


def _exe(host: Host, pid: int) -> str | None:
    try:
        return host.link(f"/proc/{pid}/exe")
    except OSError:
        return None


def _frozen(host: Host, cgroup: str) -> bool:
    """Whether the cgroup of a process is frozen; only its control files tell (facts: section 10)."""
    for line in cgroup.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                events = parse_flat(_load(host, f"{mount}{path}/cgroup.events") or "")
                if events.get("frozen") == "1":
                    return True
        elif "freezer" in controllers.split(","):
            state = _load(host, f"/sys/fs/cgroup/freezer{path}/freezer.state") or ""
            if state.strip() in ("FROZEN", "FREEZING"):
                return True
    return False


def parse_flat(text: str) -> Mapping[str, str]:
    """Parse ``key value`` lines (cgroup.events)."""
    return {key: value for key, _, value in (line.partition(" ") for line in text.splitlines())}


def _load(host: Host, path: str) -> str | None:
    """Read a small file as text; None when it is gone or denied."""
    try:
        return host.read(path).decode("utf-8", "replace")
    except OSError:
        return None
