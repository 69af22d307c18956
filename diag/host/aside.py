"""Looks at files whose server may never answer: in a process of their own, that can be left behind.

A thread in such a look can not be ended, and diag could not end before it: not even by SIGKILL once the
server has taken the request (fs/fuse/dev.c, request_wait_answer).
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
from typing import TYPE_CHECKING, TypeVar, cast

from diag.host.names import to_path

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LOCAL = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "f2fs",
        "vfat",
        "tmpfs",
        "devtmpfs",
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "squashfs",
        "erofs",
        "overlay",
        "ramfs",
        "zfs",
    ]
)


def is_served(path: str) -> bool:
    """Whether an absolute path leads, by its words, onto a file system that somebody else serves."""
    base, path = _root(path)
    try:
        with open(f"{base}/mountinfo", "rb") as file:
            lines = file.read(4 << 20).splitlines()
    except OSError:
        return False
    wanted = os.fsencode(os.path.normpath(to_path(path))) + b"/"
    longest, kind = b"", "ext4"
    for line in lines:
        before, _, after = line.partition(b" - ")
        words = before.split(b" ")
        if len(words) < 5:
            continue
        point = words[4].replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\134", b"\\")
        if len(point) >= len(longest) and wanted.startswith(point.rstrip(b"/") + b"/"):
            longest, kind = point, after.split(b" ", 1)[0].decode("ascii", "replace")
    return kind not in _LOCAL


def _root(path: str) -> tuple[str, str]:
    """Split /proc/PID/root/PATH into the process and the path as that sees it."""
    parts = path.split("/", 4)
    if len(parts) == 5 and parts[1] == "proc" and parts[3] == "root":
        return f"/proc/{parts[2]}", f"/{parts[4]}"
    return "/proc/self", path if path.startswith("/") else os.path.join(os.getcwd(), path)


def aside(look: Callable[[], T], patience: float) -> T:
    """Return what ``look`` returns or raises, from a child; ``TimeoutError`` after ``patience`` seconds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _answer(look, writer)
    os.close(writer)
    data = bytearray()
    deadline = time.monotonic() + patience
    try:
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(reader, 1 << 16)
            if not piece:
                break
            data += piece
        else:
            raise TimeoutError
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        _collect(pid)
    answer = pickle.loads(data)  # noqa: S301 - of our own child
    if isinstance(answer, BaseException):
        raise answer
    return cast("T", answer)


def _collect(pid: int) -> None:
    """Wait for the child's end for a moment: one that hangs in the kernel ends when its server does."""
    for _ in range(20):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(0.005)


def _answer(look: Callable[[], object], writer: int) -> None:
    try:
        # A child that hangs must not keep open what others wait to see closed: our output, pipes, locks.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, writer)
        os.closerange(writer + 1, 1 << 16)
        try:
            answer: object = look()
        except Exception as error:  # noqa: BLE001 - handed on to who asked
            answer = error
        data = pickle.dumps(answer)
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)
