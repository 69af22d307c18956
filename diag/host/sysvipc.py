"""SysV semaphores, by semctl(2) commands that only read."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

from diag.host.namespaces import within
from diag.model.io import SysvSemaphore, SysvSet

if TYPE_CHECKING:
    from collections.abc import Sequence

# include/uapi/linux/sem.h; all of them read only.
_GETPID, _GETVAL, _GETNCNT = 11, 12, 14


def semaphores(pid: int, semid: int, numbers: Sequence[int]) -> SysvSet:
    """Describe some semaphores of a set, in the ipc namespace of ``pid``.

    Raises ``OSError``: EINVAL or EIDRM where the set is gone, EACCES where it may not be read.
    """
    return within(pid, "ipc", lambda: _ask(semid, numbers))


def _ask(semid: int, numbers: Sequence[int]) -> SysvSet:
    key, size, changed = _listed(semid)
    return SysvSet(
        semid=semid,
        key=key,
        size=size,
        changed=changed,
        semaphores=tuple(
            SysvSemaphore(
                number=number,
                value=_semctl(semid, number, _GETVAL),
                last_pid=_semctl(semid, number, _GETPID),
                waiting=_semctl(semid, number, _GETNCNT),
            )
            for number in numbers
        ),
    )


def _semctl(semid: int, number: int, command: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.semctl(semid, number, command, 0)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), f"SysV semaphore set {semid}")
    return answer


def _listed(semid: int) -> tuple[int, int, float]:
    """Key, number of semaphores and time of the last change, from the list of all sets; zeros without it.

    The list is that of the namespace of the thread that opens it.
    """
    try:
        with open("/proc/sysvipc/sem", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0, 0, 0.0
    for words in (line.split() for line in lines[1:]):
        if len(words) >= 10 and words[1] == str(semid):
            return int(words[0]) & 0xFFFFFFFF, int(words[3]), float(words[8])
    return 0, 0, 0.0
