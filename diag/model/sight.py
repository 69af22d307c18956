"""What diag can see on a host, and what stands in its way."""

from __future__ import annotations

from diag.model.facts import Fact


class Setting(Fact, frozen=True, kw_only=True):
    """Who is looking, and from where. None: the kernel does not say."""

    uid: int
    capabilities: frozenset[str]  # of those that matter here: "SYS_PTRACE", "SYSLOG", "SYS_ADMIN"
    container: str | None  # "docker", "podman", "kubernetes", "lxc" ...
    initial_pid_namespace: bool | None
    initial_user_namespace: bool | None
    seccomp: bool  # a system call filter is active
    yama: int | None  # kernel.yama.ptrace_scope; None: this kernel has no Yama
    groups: frozenset[int] = frozenset()


class Sight(Fact, frozen=True, kw_only=True):
    """One kind of evidence on this host."""

    what: str
    can: bool | None  # None: a fact to know, neither a sight nor a limit
    detail: str
    lifts: str | None = None  # the command that lifts the limit, fitting the facts
    blinds: frozenset[str] = frozenset()  # codes of what may be missed
