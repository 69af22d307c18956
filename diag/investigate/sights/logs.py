"""Sights of crashes: the kernel's lines, the logs that keep them, core files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.collectors import setting as settings
from diag.investigate import lifts
from diag.model.sight import Sight
from diag.rules.catalogue import family

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.sight import Setting

CRASHES = family("C")

LOG_NAMES = ("messages", "syslog", "kern.log")


def crash_lines(host: Host, setting: Setting) -> Sight | None:
    """Whether the kernel writes a line about a crash at all: debug.exception-trace."""
    value = settings.number(host, "/proc/sys/debug/exception-trace")
    if value is None:
        return None
    return Sight(
        what="kernel lines about crashes",
        can=value != 0,
        detail=f"debug.exception-trace is {value}",
        lifts=None if value else lifts.sysctl(setting, "debug.exception-trace", 1),
        blinds=CRASHES,
    )


def kernel_log(host: Host, setting: Setting) -> Sight:
    """The kernel's ring buffer: dmesg_restrict asks for CAP_SYSLOG."""
    what = "kernel ring buffer (dmesg)"
    try:
        host.read_at("/dev/kmsg", 0, 8192)
    except BlockingIOError:
        pass  # readable, and empty
    except OSError as error:
        restricted = settings.number(host, "/proc/sys/kernel/dmesg_restrict") == 1
        why = "kernel.dmesg_restrict is 1" if restricted else f"/dev/kmsg: {error.strerror}"
        lift = lifts.capability(setting, "SYSLOG")
        if restricted and "SYSLOG" not in setting.capabilities:
            lift += f"; or: {lifts.sysctl(setting, 'kernel.dmesg_restrict', 0)}"
        return Sight(what=what, can=False, detail=why, lifts=lift, blinds=CRASHES)
    return Sight(what=what, can=True, detail="/dev/kmsg can be read")


def journal(host: Host, setting: Setting) -> Sight | None:
    """The system journal, where there is one."""
    try:
        done = host.run(("journalctl", "--no-pager", "-n", "1", "_TRANSPORT=kernel"), timeout=5)
    except OSError:
        return None
    said = done.stderr.decode("utf-8", "replace")
    denied = "insufficient permissions" in said or "not seeing messages" in said
    if not denied and "No journal files were found" in said:
        return None
    group = "sudo usermod -aG systemd-journal USER, then log in again"
    return Sight(
        what="system journal",
        can=not denied,
        detail="only root and the group systemd-journal may read it" if denied else "journalctl answers",
        lifts=(f"sudo diag ...; or: {group}" if setting.uid else "run diag on the host") if denied else None,
        blinds=CRASHES,
    )


def log_files(host: Host, setting: Setting) -> Sight | None:
    """The kernel's lines as syslog daemons keep them."""
    try:
        names = [name for name in host.names("/var/log") if name in LOG_NAMES]
    except OSError:
        return None
    denied = [f"/var/log/{name}" for name in names if not _readable(host, f"/var/log/{name}")]
    if not names:
        return None
    group = "sudo usermod -aG adm USER (Debian, Ubuntu), then log in again"
    return Sight(
        what="log files",
        can=not denied,
        detail=f"{' '.join(denied)}: permission denied"
        if denied
        else " ".join(f"/var/log/{name}" for name in names),
        lifts=(f"sudo diag ...; or: {group}" if setting.uid else "run diag on the host") if denied else None,
        blinds=CRASHES,
    )


def _readable(host: Host, path: str) -> bool:
    try:
        host.read_at(path, 0, 1)
    except OSError:
        return False
    return True


def cores(host: Host, setting: Setting) -> Sight:
    """Where core files go, core(5): a fact to know, for gdb or pystack. diag does not read them yet."""
    del setting
    pattern = settings.text(host, "/proc/sys/kernel/core_pattern")
    lost = pattern == "" or (pattern or "").startswith(("|/bin/false", "|/bin/true"))
    detail = f"kernel.core_pattern is {pattern or 'empty' if pattern is not None else 'not readable'}"
    return Sight(what="core files", can=None, detail=f"{detail}{': cores are thrown away' if lost else ''}")
