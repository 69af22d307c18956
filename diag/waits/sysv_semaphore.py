"""Threads that wait for a SysV semaphore. The kernel knows no owner, only who operated on it last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.facts import Evidence
from diag.model.graph import Actor, Hold
from diag.waits.scene import actor, how_long

if TYPE_CHECKING:
    from diag.model.graph import Wait
    from diag.model.io import SemaphoreWait
    from diag.waits.scene import Scene

KIND = "sysv-semaphore"


def link(scene: Scene) -> Wait | None:
    """Say which semaphore, and who may have it: whoever took it last, unless that one waits as well.

    Only a semaphore that is used as a lock has a holder; one that counts work looks the same (sem_op(2)).
    """
    if scene.call not in ("semop", "semtimedop"):
        return None
    about = scene.around.semaphores.get((scene.process.pid, scene.thread.tid))
    if about is None:
        return None
    semaphore, whole = about.semaphore, about.semaphores
    name = f"SysV semaphore {semaphore.number} of set {whole.semid} (key {whole.key:#010x})"
    if about.operation.change == 0:
        words = scene.phrase(f"waits until {name} is 0")
    else:
        words = scene.phrase(f"waits for {name}{_last(scene, about)}")
    wait = scene.wait(
        KIND,
        f"{about.namespace}:{whole.semid}:{semaphore.number}",
        words,
        how_long(scene.asked),
        name=name,
    )
    text = (
        f"value {semaphore.value}, operation {about.operation.change:+d}, last operator pid "
        f"{semaphore.last_pid}, waiting {semaphore.waiting}, set last changed at {whole.changed:.0f}"
    )
    source = f"semctl({whole.semid}, {semaphore.number}, GETVAL|GETPID|GETNCNT)"
    evidence = Evidence(source=source, text=text)
    holder = _holder(scene, about)
    holds = (
        (Hold(holder=holder, resource=wait.resource, certain=False, evidence=(evidence,)),) if holder else ()
    )
    return replace(wait, holds=holds, evidence=(*wait.evidence, evidence))


def _holder(scene: Scene, about: SemaphoreWait) -> Actor | None:
    """Who took it last and does not want it again: an actor without a name is gone."""
    last = about.semaphore.last_pid
    if about.operation.change >= 0 or about.last_waits or last in (0, scene.process.pid):
        return None
    process = scene.around.processes.get(last)
    if process is None and not about.all_seen:
        return None
    # Seconds are whole in the kernel's answer: a process that began in the next one is a stranger.
    if process is None or (about.semaphores.changed and process.since >= about.semaphores.changed + 1):
        return Actor(pid=last, started=0, process="")
    return actor(process)


def _last(scene: Scene, about: SemaphoreWait) -> str:
    holder = _holder(scene, about)
    if holder is None:
        return ""
    if not holder.started:
        return f", which pid {holder.pid} took last, a process that is gone"
    return f", which pid {holder.pid} ({holder.process}) took last"
