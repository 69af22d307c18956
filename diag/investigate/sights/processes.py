"""Sights of processes: descriptors, stacks, locks, namespaces, cgroups."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from diag.collectors import process, pyspy
from diag.collectors import setting as settings
from diag.investigate import lifts
from diag.model.facts import Gap
from diag.model.sight import Sight
from diag.rules.catalogue import family

if TYPE_CHECKING:
    from diag.host import Host
    from diag.model.sight import Setting

LOCKS = family("L")

SPY_PATIENCE = 10.0  # seconds


def reader(host: Host, setting: Setting) -> Sight:
    """Who is looking; a fact to know."""
    del host
    names = " ".join(f"CAP_{name}" for name in sorted(setting.capabilities))
    place = f"in a {setting.container} container" if setting.container else "on the machine itself"
    if not setting.container and setting.initial_pid_namespace is False:
        place = "in a pid namespace"
    filtered = ", under a seccomp filter" if setting.seccomp else ""
    detail = f"uid {setting.uid}, {names or 'no capabilities that matter'}, {place}{filtered}"
    return Sight(what="who is looking", can=None, detail=detail)


def others(host: Host, setting: Setting) -> Sight:
    """Descriptors, system calls and stacks of other users' processes: ptrace(2), access modes."""
    del host
    can = "SYS_PTRACE" in setting.capabilities
    return Sight(
        what="processes of other users",
        can=can,
        detail="CAP_SYS_PTRACE is there"
        if can
        else f"uid {setting.uid} without CAP_SYS_PTRACE: that they run, not what they hold or wait for",
        lifts=None if can else lifts.capability(setting, "SYS_PTRACE"),
        blinds=LOCKS | {"C001"},
    )


def stacks(host: Host, setting: Setting) -> Sight | None:
    """Whether py-spy can read a process that is not its child: we let it read diag itself."""
    own = process.collect(host, host.info.pid, host.clock())
    if own is None:
        return None  # /proc without ourselves: "file locks" and the rest say so
    answer = pyspy.collect(host, own, patience=pyspy.Patience())
    if not isinstance(answer, Gap):
        detail = f"{_version(host)} reads the processes of this user"
        return Sight(what="Python stacks (py-spy)", can=True, detail=detail)
    detail, lift = _refused(setting, answer)
    return Sight(what="Python stacks (py-spy)", can=False, detail=detail, lifts=lift, blinds=answer.blinds)


def _version(host: Host) -> str:
    try:
        done = host.run(("py-spy", "--version"), timeout=SPY_PATIENCE)
    except OSError:
        return "py-spy"
    return done.stdout.decode("utf-8", "replace").strip()


def _refused(setting: Setting, gap: Gap) -> tuple[str, str]:
    """Say why py-spy could not read a process of our own user, and what lifts that."""
    if not pyspy.is_denial(gap.reason):
        missing = "cannot run" in gap.reason
        lift = "python -m pip install --upgrade py-spy (where diag is installed)"
        return (gap.reason if missing else f"py-spy can not read diag itself: {gap.reason}"), lift
    if setting.yama == 3:
        lift = "boot without kernel.yama.ptrace_scope=3: it can not be lowered on a running kernel"
    else:
        lift = lifts.capability(setting, "SYS_PTRACE")
        if setting.yama == 1:
            lift += f"; or: {lifts.sysctl(setting, 'kernel.yama.ptrace_scope', 0)}"
    if setting.yama:
        return f"ptrace is denied: kernel.yama.ptrace_scope is {setting.yama}", lift
    by = "the seccomp filter or a security module" if setting.seccomp else "a security module"
    return f"ptrace is denied, probably by {by}", lift


def namespace(host: Host, setting: Setting) -> Sight:
    """Whether all processes of the machine are in sight: pid_namespaces(7)."""
    del host
    can = setting.initial_pid_namespace is True
    outside = "a lock whose holder is outside of it is not listed, and its waiters neither"
    return Sight(
        what="processes of the whole machine",
        can=can,
        detail="the machine's own pid namespace" if can else f"diag is in a pid namespace: {outside}",
        lifts=None if can else lifts.outside(setting),
        blinds=LOCKS,
    )


def hidden_pids(host: Host, setting: Setting) -> Sight | None:
    """Whether /proc hides other users' processes: its mount option hidepid, proc(5)."""
    options = settings.parse_proc_options(settings.text(host, "/proc/self/mountinfo") or "")
    mode = options.get("hidepid", "0")
    exempt = "SYS_PTRACE" in setting.capabilities or options.get("gid", "") in map(str, setting.groups)
    if mode in ("0", "off") or exempt:
        return None
    return Sight(
        what="that other users' processes run",
        can=False,
        detail=f"/proc is mounted with hidepid={mode}",
        lifts=lifts.capability(setting, "SYS_PTRACE"),
        blinds=LOCKS,
    )


def lock_table(host: Host, setting: Setting) -> Sight:
    """The kernel's list of file locks."""
    del setting
    try:
        host.read_at("/proc/locks", 0, 1)
    except OSError as error:
        return Sight(
            what="file locks",
            can=False,
            detail=f"/proc/locks: {error.strerror}",
            lifts="run diag on the host: this sandbox hides the kernel's lock table",
            blinds=LOCKS,
        )
    return Sight(what="file locks", can=True, detail="/proc/locks can be read")


def descriptions(host: Host, setting: Setting) -> Sight:
    """Whether kcmp(2) works: a fact to know. No rule needs it yet: fdinfo tells who keeps a lock."""
    del setting
    own = host.info.pid
    try:
        first = host.fds(own)[0].fd
        host.same_description(own, first, own, first)
    except (OSError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no descriptor to try it on"
        return Sight(what="kcmp", can=None, detail=f"refused ({reason}); no rule of this version needs it")
    return Sight(what="kcmp", can=None, detail="works; no rule of this version needs it")


def freezers(host: Host, setting: Setting) -> Sight:
    """Whether a frozen cgroup can be told: the mounted hierarchies, cgroups(7)."""
    mounts = settings.text(host, "/proc/self/mountinfo") or ""
    kinds = [line.partition(" - ")[2] for line in mounts.splitlines()]
    second = any(kind.startswith("cgroup2 ") for kind in kinds)
    first = any(kind.startswith("cgroup ") and "freezer" in kind for kind in kinds)
    names = " and ".join(name for name, there in (("v2", second), ("v1 freezer", first)) if there)
    at = f"docker run -v /sys/fs/cgroup:/sys/fs/cgroup:ro, with {setting.container}"
    return Sight(
        what="frozen processes (cgroups)",
        can=bool(names),
        detail=f"cgroup {names} is mounted" if names else "no cgroup file system is mounted here",
        lifts=None if names else (at if setting.container in lifts.ENGINES else "mount /sys/fs/cgroup"),
        blinds=frozenset({"L004"}),
    )


def pythons(host: Host, setting: Setting) -> Sight | None:
    """Which Python versions run here, as far as their programs may be seen."""
    del setting
    found = Counter(version for version in map(partial(_version_of, host), _pids(host)) if version)
    if not found:
        return None
    words = ", ".join(f"{version} x {count}" for version, count in sorted(found.items()))
    return Sight(what="Python processes", can=None, detail=words)


def _pids(host: Host) -> tuple[str, ...]:
    try:
        return tuple(name for name in host.names("/proc") if name.isdigit())
    except OSError:
        return ()


def _version_of(host: Host, pid: str) -> str | None:
    try:
        program = host.link(f"/proc/{pid}/exe")
    except OSError:
        return None
    match = re.search(r"/python(\d(?:\.\d+)?)(?: \(deleted\))?$", program)
    return match and match[1]
