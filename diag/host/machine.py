"""The machine that diag runs on, and what holds diag on it: a container, a zone of time."""

from __future__ import annotations

import os
import time

from diag.host import files
from diag.host.names import to_text
from diag.host.records import HostInfo

INITIAL_NAMESPACES = {
    "cgroup": 4026531835,
    "pid": 4026531836,
    "user": 4026531837,
    "uts": 4026531838,
    "ipc": 4026531839,
}
"""Inode numbers of the machine's own namespaces (include/linux/proc_ns.h); a container has others."""


def info() -> HostInfo:
    """Look at what does not change during a run."""
    system = os.uname()
    return HostInfo(
        name=system.nodename,
        kernel=system.release,
        machine=system.machine,
        boot_id=files.text("/proc/sys/kernel/random/boot_id"),
        ticks=os.sysconf("SC_CLK_TCK"),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        cpus=os.cpu_count() or 1,
        uid=os.geteuid(),
        pid=os.getpid(),
        capabilities=int(files.field(files.text("/proc/self/status"), "CapEff") or "0", 16),
        container=_container(),
        cwd=to_text(working_directory()),
        timezone=time.strftime("%z"),
        zone_rules=_zone_rules(),
        debug_server=bool(os.environ.get("DEBUGINFOD_URLS", "").strip()),
    )


def _container() -> str | None:
    """Name the container runtime diag itself runs in, as its marks in the file system tell.

    The marks alone prove nothing: a container's image may have been booted as a machine.
    """
    if all(_in_initial(*namespace) for namespace in INITIAL_NAMESPACES.items()):
        return None
    marks = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
    for mark, runtime in marks.items():
        if os.path.exists(mark):
            return runtime
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return os.environ.get("container")  # noqa: SIM112 - systemd's name for it


def _in_initial(kind: str, inode: int) -> bool:
    try:
        return os.readlink(f"/proc/self/ns/{kind}") == f"{kind}:[{inode}]"
    except OSError:
        return True  # a kernel without this kind of namespace


def _zone_rules() -> bytes:
    """Read the zone that localtime(3) uses, so that a replay elsewhere knows it too."""
    name = os.environ.get("TZ", "").lstrip(":")
    path = os.path.join("/usr/share/zoneinfo", name) if name else "/etc/localtime"
    try:
        return files.read_all(path, 1 << 16)
    except OSError:
        return b""


def working_directory() -> str:
    """Where relative paths begin; its last name if it was removed below us, as by a deployment."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.readlink("/proc/self/cwd")  # ends in " (deleted)": nothing lies there any more
