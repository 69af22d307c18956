"""Who is looking and from where: /proc/self and sysctls. Sources: proc(5), capabilities(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.model.sight import Setting

if TYPE_CHECKING:
    from diag.host import Host

CAPABILITIES = {"SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYSLOG": 34}
"""Bits of /proc/PID/status CapEff (include/uapi/linux/capability.h)."""

INITIAL = {"pid": "pid:[4026531836]", "user": "user:[4026531837]"}
"""The namespaces of the machine itself have fixed numbers (include/linux/proc_ns.h)."""


def parse_status(text: str) -> tuple[bool, frozenset[int]]:
    """Parse /proc/self/status: whether a seccomp filter (mode 2) is active, and our groups."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    groups = frozenset(int(group) for group in fields.get("Groups", "").split())
    return fields.get("Seccomp", "0").strip() == "2", groups


def parse_proc_options(mountinfo: str) -> dict[str, str]:
    """Return the options of the procfs mounted on /proc: ``{"hidepid": "invisible", …}``.

    ``mountinfo`` is /proc/self/mountinfo; the last mount on a directory is the one that shows.
    """
    options: dict[str, str] = {}
    for line in mountinfo.splitlines():
        own, _, system = line.partition(" - ")
        kind, _, rest = system.partition(" ")
        if own.split()[4] == "/proc" and kind == "proc":
            pairs = [*own.split()[5].split(","), *rest.split()[-1].split(",")]
            options = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    return options


def collect(host: Host) -> Setting:
    """Read the setting. What can not be read is None, never a guess."""
    seccomp, groups = parse_status(text(host, "/proc/self/status") or "")
    info = host.info
    return Setting(
        uid=info.uid,
        capabilities=frozenset(n for n, bit in CAPABILITIES.items() if info.capabilities >> bit & 1),
        container=info.container,
        initial_pid_namespace=_initial(host, "pid"),
        initial_user_namespace=_initial(host, "user"),
        seccomp=seccomp,
        yama=number(host, "/proc/sys/kernel/yama/ptrace_scope"),
        groups=groups,
    )


def text(host: Host, path: str) -> str | None:
    """Read a small text file; None if that can not be."""
    try:
        return host.read(path).decode("utf-8", "replace").strip()
    except OSError:
        return None


def number(host: Host, path: str) -> int | None:
    """Read a file that holds one number, as sysctls do; None if it is not there."""
    found = text(host, path)
    return int(found) if found is not None and found.isdigit() else None


def _initial(host: Host, kind: str) -> bool | None:
    try:
        return host.link(f"/proc/self/ns/{kind}") == INITIAL[kind]
    except OSError:
        return None
