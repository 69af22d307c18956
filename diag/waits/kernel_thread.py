"""Kernel threads: they have no program; their name says what they do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from diag.model.graph import How

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.waits.scene import Scene

# By name, as the kernel source that starts them gives it; the first that matches counts.
_DUTIES = tuple(
    (re.compile(pattern), duty)
    for pattern, duty in (
        (r"kthreadd$", "starts other kernel threads"),
        (r"k?worker/", "runs deferred kernel work (workqueue)"),
        (r"ksoftirqd/", "handles soft interrupts of one CPU"),
        (r"migration/", "moves tasks between CPUs"),
        (r"rcu", "frees memory that readers no longer use (RCU)"),
        (r"kswapd", "reclaims memory when it runs low"),
        (r"kcompactd", "compacts memory"),
        (r"khugepaged", "makes huge pages"),
        (r"jbd2/", "writes the journal of an ext4 file system"),
        (r"(xfs|ext4|btrfs|nfs|cifs|dm|md|loop|nvme|scsi|kdmflush|kcopyd)", "serves a file system or a disk"),
        (r"khungtaskd", "looks for tasks that hang"),
        (r"oom_reaper", "frees the memory of processes killed for lack of it"),
        (r"kauditd", "passes audit records on"),
        (r"watchdog", "watches over the CPUs"),
        (r"irq/", "handles a device's interrupts"),
        (r"writeback|flush-", "writes changed pages to disk"),
    )
)


def link(scene: Scene) -> Wait | None:
    """Say what a kernel thread is for, and where in the kernel it sleeps."""
    if not scene.process.kernel:
        return None
    name = scene.process.name
    duty = next((duty for pattern, duty in _DUTIES if pattern.match(name)), None)
    what = f"kernel thread, {duty}" if duty else "kernel thread"
    wchan = scene.thread.wchan
    doing = "on CPU" if scene.thread.state == "R" else f"sleeps in {wchan}" if wchan else "sleeps"
    how = How.BLOCKED if scene.thread.state == "D" else How.IDLE
    return scene.wait("kernel", f"{scene.process.pid}", f"{what}: {doing}", how, name=wchan or "work")
