"""Which SysV semaphores threads wait for, and who operated on them last."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from diag.collectors import asked as arguments
from diag.model.facts import Gap
from diag.model.io import SemaphoreWait

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.host import Host
    from diag.investigate.inquiry import Inquiry
    from diag.model.io import Asked, Semop, SysvSemaphore, SysvSet

    ThreadId = tuple[int, int]

_MOST = 64
"""Semaphores of one semop(2) that are looked at."""
_BLINDED = frozenset({"T004", "P005"})


def find(inquiry: Inquiry, asked: Mapping[ThreadId, Asked]) -> dict[ThreadId, SemaphoreWait]:
    """Return what each thread that sleeps in semop(2) waits for, as far as the kernel tells."""
    found = {}
    for (pid, tid), about in asked.items():
        if about.semid is None or not about.operations:
            continue
        numbers = list(dict.fromkeys(one.number for one in about.operations))[:_MOST]
        try:
            answer = inquiry.host.sysv_semaphores(pid, about.semid, numbers)
        except OSError as error:
            inquiry.gaps.append(_gap(inquiry, pid, about.semid, error))
            continue
        if wanted := blocking(about.operations, answer):
            operation, semaphore = wanted
            namespace = _link(inquiry.host, f"/proc/{pid}/ns/ipc")
            inquiry.process(semaphore.last_pid)
            found[pid, tid] = SemaphoreWait(
                namespace=namespace,
                semaphores=answer,
                semaphore=semaphore,
                operation=operation,
                all_seen=inquiry.process(1) is not None,
                last_waits=_takes(inquiry, semaphore.last_pid, namespace, about.semid, semaphore.number),
            )
    return found


def blocking(operations: Iterable[Semop], answer: SysvSet) -> tuple[Semop, SysvSemaphore] | None:
    """Find the operation that can not be done; those before it count, for all are done at once or none."""
    known = {one.number: one for one in answer.semaphores}
    values = {number: one.value for number, one in known.items()}
    for operation in operations:
        value = values.get(operation.number)
        if value is None:
            return None
        blocks = value != 0 if operation.change == 0 else value + operation.change < 0
        if blocks:
            return operation, known[operation.number]
        values[operation.number] = value + operation.change
    return None


def _takes(inquiry: Inquiry, pid: int, namespace: str, semid: int, number: int) -> bool:
    """Whether a thread of a process waits itself to take from a semaphore: then it has not got it."""
    if not inquiry.process(pid) or _link(inquiry.host, f"/proc/{pid}/ns/ipc") != namespace:
        return False
    for thread in inquiry.threads(pid):
        wants = arguments.collect(inquiry.host, thread, inquiry.clock)
        if wants and wants.semid == semid:
            return any(one.number == number and one.change < 0 for one in wants.operations)
    return False


def _link(host: Host, path: str) -> str:
    try:
        return host.link(path)
    except OSError:
        return ""


def _gap(inquiry: Inquiry, pid: int, semid: int, error: OSError) -> Gap:
    lacks_rights = error.errno in (errno.EACCES, errno.EPERM)
    return Gap(
        source=f"semctl({semid}) for pid {pid}",
        hides=f"who operated last on SysV semaphore set {semid}, which pid {pid} waits for",
        reason=error.strerror or str(error),
        hint="run diag as root"
        if lacks_rights and inquiry.host.info.uid
        else "run diag in the ipc namespace of the process, or look again: the set may be gone",
        blinds=_BLINDED,
    )
