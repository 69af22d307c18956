"""Threads, from /proc/PID/task/TID/{stat,status,syscall,wchan,sched}."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors.process import parse_stat, parse_status
from diag.collectors.syscalls import name_of, resumed
from diag.model.facts import Syscall, Thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Clock, Host


def parse_syscall(text: str, machine: str) -> Syscall | None:
    """Parse ``NR ARG0 … ARG5 SP PC``, ``-1 SP PC`` or ``running`` (None)."""
    words = text.split()
    if not words or words[0] == "running":
        return None
    number = int(words[0])
    arguments = tuple(int(word, 16) for word in words[1:7]) if number >= 0 else ()
    return Syscall(number=number, name=name_of(number, machine), arguments=arguments)


def parse_last_ran(text: str) -> float | None:
    """Find se.exec_start in a sched file: milliseconds of the scheduler's clock.

    None where it is 0: the kernel forgets it when it moves a thread to another CPU: since 6.12
    sleeping ones too (kernel/sched/fair.c: migrate_task_rq_fair, delayed dequeue; seen on 6.18).
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "se.exec_start":
            return float(value) / 1000 or None
    return None


def syscalls(host: Host, pid: int) -> Iterator[tuple[int, Syscall | None]]:
    """Yield (tid, system call) of each thread, None where it runs or hides it: the cheapest look."""
    try:
        names = host.names(f"/proc/{pid}/task")
    except OSError:
        return
    for tid in sorted(map(int, names)):
        text = _text(host, f"/proc/{pid}/task/{tid}/syscall") or ""
        yield tid, parse_syscall(text, host.info.machine)


def asleep(host: Host, pid: int) -> dict[int, int]:
    """Return the threads that sleep, each with how often it has gone to sleep.

    One that is there later with the same number has not run in between (voluntary_ctxt_switches: proc(5)).
    """
    try:
        names = host.names(f"/proc/{pid}/task")
    except OSError:
        return {}
    found = {}
    for tid in map(int, names):
        status = parse_status(_text(host, f"/proc/{pid}/task/{tid}/status") or "")
        if status.get("State", "R")[0] != "R" and "voluntary_ctxt_switches" in status:
            found[tid] = int(status["voluntary_ctxt_switches"])
    return found


def collect(host: Host, pid: int, clock: Clock) -> Iterator[Thread]:
    """Yield each thread of a process; one that exits while we look is not news."""
    try:
        names = host.names(f"/proc/{pid}/task")
    except OSError:
        return
    for tid in sorted(map(int, names)):
        if thread := collect_one(host, pid, tid, clock):
            yield thread


def collect_one(host: Host, pid: int, tid: int, clock: Clock) -> Thread | None:
    """Describe one thread; None when it is gone."""
    base = f"/proc/{pid}/task/{tid}"
    text = _text(host, f"{base}/stat")
    if text is None:
        return None
    stat = parse_stat(text)
    status = parse_status(_text(host, f"{base}/status") or "")
    wchan = (_text(host, f"{base}/wchan") or "").strip()
    ran = parse_last_ran(_text(host, f"{base}/sched") or "")
    return Thread(
        pid=pid,
        tid=tid,
        name=stat["comm"],
        state=stat["state"],
        syscall=_resumed(parse_syscall(_text(host, f"{base}/syscall") or "", host.info.machine), wchan),
        wchan=wchan if wchan not in ("", "0") else None,  # "0" is also what the unprivileged get
        voluntary=int(status.get("voluntary_ctxt_switches", "0")),
        involuntary=int(status.get("nonvoluntary_ctxt_switches", "0")),
        cpu=int(stat["utime"]) + int(stat["stime"]),
        last_ran=None if ran is None else clock.wall - clock.scheduler + ran,
    )


def _resumed(call: Syscall | None, wchan: str) -> Syscall | None:
    """See through restart_syscall: a debugger, py-spy or a stop signal was here before us."""
    if call is None or call.name != "restart_syscall":
        return call
    name = resumed(wchan, call.arguments) or call.name
    return Syscall(number=call.number, name=name, arguments=call.arguments)


def _text(host: Host, path: str) -> str | None:
    try:
        return host.read(path, 1 << 16).decode("utf-8", "replace")
    except OSError:
        return None
