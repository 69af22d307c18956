"""Questions to the kernel that depend on the namespace of who asks."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FLAGS = {"net": 0x40000000, "ipc": 0x08000000}
"""CLONE_NEW… of include/uapi/linux/sched.h."""
PATIENCE = 2.0  # seconds


def within(pid: int, kind: str, ask: Callable[[], T]) -> T:
    """Return what ``ask`` returns in the ``kind`` namespace of ``pid``.

    Where that is not our own, a thread enters it (needs CAP_SYS_ADMIN) and ends with the answer; diag
    itself never moves. Raises ``OSError``.
    """
    path = f"/proc/{pid}/ns/{kind}"
    if os.readlink(path) == os.readlink(f"/proc/self/ns/{kind}"):
        return ask()
    box: list[T | OSError] = []

    def work() -> None:
        try:
            _enter(path, FLAGS[kind])
            box.append(ask())
        except OSError as error:
            box.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(PATIENCE)
    if not box:
        raise TimeoutError(errno.ETIMEDOUT, "no answer from the namespace", path)
    if isinstance(box[0], OSError):
        raise box[0]
    return box[0]


def _enter(path: str, flag: int) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, flag) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(handle)
