"""Threads that sleep until a file system answers (a disk, NFS, FUSE …), and uninterruptible sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors.fuse import SLEEPS_IN
from diag.model.facts import Evidence
from diag.model.graph import Hold, How
from diag.waits.scene import actor, at

if TYPE_CHECKING:
    from diag.model.facts import Thread
    from diag.model.graph import Wait
    from diag.model.mounts import FileSystem
    from diag.waits.scene import Scene

_NETWORK = (
    "rpc_",
    "nfs",
    "cifs_",
    "smb2_",
    "wait_for_response",
    "p9_client",
    "p9_virtio",
    "ceph_",
    "autofs_wait",
)
"""Beginnings of the functions slept in: net/sunrpc/sched.c, fs/nfs, fs/smb/client/transport.c …"""


def is_fuse_wait(thread: Thread) -> bool:
    """Whether a thread waits for the answer of a FUSE server: the kernel's own function says so."""
    return SLEEPS_IN in (thread.wchan or "")


def may_wait_for_files(thread: Thread) -> bool:
    """Whether a thread waits for a file system: it does not run, and no signal but KILL would end that."""
    return thread.state == "D" or is_fuse_wait(thread) or (thread.wchan or "").startswith(_NETWORK)


def link(scene: Scene) -> Wait | None:
    """Say which file system has not answered, what it is on, and which process serves it."""
    thread = scene.thread
    if not may_wait_for_files(thread):
        return None
    on = scene.around.file_systems.get((thread.pid, thread.tid))
    if on is None:
        return _somewhere(scene)
    name = named(on)
    doing = f"{scene.call or 'a page'} of {on.path}" if on.path else scene.call or "a page of memory"
    inside = f" ({thread.wchan})" if thread.wchan else ""
    words = f"waits for the {name}: {doing}{inside}{at(scene.stack)}"
    servers = tuple(actor(known) for pid in on.servers if (known := scene.around.processes.get(pid)))
    made = scene.wait(
        "io",
        str(on.mount.device),
        words,
        How.BLOCKED,
        name=name,
        path=on.path or on.mount.point,
        mode=_mode(on),
        certain=on.certain,
    )
    resource = replace(made.resource, device=on.mount.device)
    sure = on.connected and on.certain
    holds = tuple(
        Hold(holder=server, resource=resource, certain=sure, evidence=_evidence(server.pid, on))
        for server in servers
    )
    mount = Evidence(
        source=f"/proc/{thread.pid}/mountinfo",
        text=f"{on.mount.source} on {on.mount.point} type {on.mount.type} ({on.mount.options})",
    )
    return replace(made, resource=resource, holds=holds, evidence=(*made.evidence, mount))


def _mode(on: FileSystem) -> str:
    return "fuse" if on.mount.is_fuse else "network" if on.mount.is_network else "disk"


def named(on: FileSystem) -> str:
    """Name a file system in words that fit behind "waits for the"."""
    mount = on.mount
    if mount.is_fuse:
        return f"FUSE file system {mount.source} on {mount.point}"
    if mount.is_network:
        return f"{mount.type} server of {mount.source} on {mount.point}"
    return f"device of {mount.point} ({mount.source}, {mount.type})"


def _evidence(pid: int, on: FileSystem) -> tuple[Evidence, ...]:
    if not on.connected:
        return (Evidence(source=f"/proc/{pid}/fd", text="/dev/fuse"),)
    waiting = "" if on.waiting is None else f", {on.waiting} requests without an answer"
    return (Evidence(source=f"/proc/{pid}/fdinfo", text=f"/dev/fuse, {on.mount.source}{waiting}"),)


def _somewhere(scene: Scene) -> Wait:
    """Say what little is known: a wait in the kernel for something that no argument names."""
    thread, file = scene.thread, scene.file
    path = (scene.asked and scene.asked.path) or (file.target if file else None)
    call = f" in {scene.call}" if scene.call else ""
    of = f" of {path}" if path else ""
    inside = f" ({thread.wchan})" if thread.wchan else ""
    name = "a FUSE server" if is_fuse_wait(thread) else "something in the kernel"
    sleep = "" if is_fuse_wait(thread) else ", uninterruptibly"
    words = f"waits for {name}{call}{of}{sleep}{inside}{at(scene.stack)}"
    key = path or f"{thread.pid}/{thread.tid}"
    return scene.wait("kernel", key, words, How.BLOCKED, name=f"{name}{of}", path=path)
