"""Commands that lift a limit, fitting the facts: no sudo for root, no docker outside of docker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.model.sight import Setting

ENGINES = ("docker", "podman")


def capability(setting: Setting, name: str) -> str:
    """How to give diag the capability ``name`` ("SYS_PTRACE")."""
    if setting.container == "kubernetes":
        return (
            f'in the pod: securityContext: {{runAsUser: 0, capabilities: {{add: ["{name}"]}}}}; '
            "or: kubectl debug --profile=sysadmin --target=CONTAINER POD"
        )
    if setting.container in ENGINES:
        return (
            f"{setting.container} exec --privileged --user 0 CONTAINER diag ...; "
            f"or start the container with --cap-add={name}"
        )
    if setting.container:
        return f"run diag on the host of this {setting.container} container, or give the container CAP_{name}"
    if setting.uid:
        return "sudo diag ..."
    if setting.initial_user_namespace is False:
        return "run diag as the machine's root, outside of this user namespace"
    return f"run diag with CAP_{name}: under systemd see CapabilityBoundingSet= of the unit"


def outside(setting: Setting) -> str:
    """How to see processes beyond the pid namespace."""
    if setting.container == "kubernetes":
        return "run diag on the node, or in a pod with hostPID: true"
    if setting.container in ENGINES:
        return f"run diag on the host, or in: {setting.container} run --pid=host ..."
    return "run diag on the host, outside of this pid namespace"


def sysctl(setting: Setting, name: str, value: int) -> str:
    """How to set a kernel setting; a container's /proc/sys is read-only."""
    if setting.container:
        return f"on the host: sysctl -w {name}={value}"
    return f"{'sudo ' if setting.uid else ''}sysctl -w {name}={value}"
