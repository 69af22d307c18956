"""Which process has a file open: one pass over every descriptor on the host, bounded in time."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import struct
import time
from typing import TYPE_CHECKING

import msgspec

from diag.host.names import to_text
from diag.host.records import Openers, OpenFd

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    FileId = tuple[int, int]
    Look = tuple[Callable[[int, bytes], int], Callable[[], int]]
    """Names the inode of one descriptor, 0 for none; and the device of the one just looked at."""

PATIENCE = 15.0
"""Seconds the whole pass may take (0.4 s for 100,000 descriptors, measured on 2 cores)."""
WORTH_A_WORKER = 128
"""Processes worth another worker: below that, fork(2) costs more than it saves."""
SHARE = 32
"""Processes a worker looks at before it takes the next share."""
MOST_SHARES = 4096
"""Shares whose numbers a pipe holds (64 KiB, pipe(7))."""
_TICKET = struct.Struct("I")

_AT_STATX_DONT_SYNC = 0x4000  # answer from the cache: never ask a FUSE daemon or an NFS server
_STATX_INO = 0x100


_FIRST = tuple(b"%d" % number for number in range(256))


def openers(files: Collection[FileId], skip: int, meanwhile: Callable[[], object]) -> Openers:
    """Find every descriptor, of every process but ``skip``, that is open on one of ``files``.

    ``files`` are pairs of st_dev and st_ino. The pass runs in forked workers, each with its share of
    the processes, so that it uses all cores and a descriptor that blocks can be left behind.
    ``meanwhile`` is called once while they run.
    """
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != skip)
    size = max(SHARE, len(pids) // MOST_SHARES)
    shares = [pids[start : start + size] for start in range(0, len(pids), size)]
    workers = max(1, min(os.cpu_count() or 1, len(pids) // WORTH_A_WORKER))
    answers = _in_workers(workers, shares, files, meanwhile)
    late = set(range(len(shares))).difference(*(answer.taken for answer in answers))
    denied = [pid for answer in answers for pid in answer.openers.denied]
    denied += [pid for number in late for pid in shares[number]]
    found = sorted(
        (item for answer in answers for item in answer.openers.found), key=lambda item: (item.pid, item.fd)
    )
    return Openers(found=tuple(found), denied=tuple(sorted(denied)))


class _Answer(msgspec.Struct, frozen=True):
    """What one worker has seen."""

    taken: tuple[int, ...]  # numbers of the shares it looked at
    openers: Openers


def _in_workers(
    workers: int, shares: Sequence[Sequence[int]], files: Collection[FileId], meanwhile: Callable[[], object]
) -> list[_Answer]:
    """Look at all shares in processes of their own; one that is late is ended, and what it took is lost."""
    answers: list[_Answer] = []
    deadline = time.monotonic() + PATIENCE
    tickets = _tickets(len(shares))
    with selectors.DefaultSelector() as selector:
        for _ in range(workers):
            pid, pipe = _start(tickets, shares, files)
            selector.register(pipe, selectors.EVENT_READ, (pid, bytearray()))
        os.close(tickets)
        meanwhile()
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            late = [] if ready else list(selector.get_map().values())
            for key in [key for key, _ in ready] or late:
                pid, text = key.data
                piece = b"" if late else os.read(key.fd, 1 << 16)
                text += piece
                if piece:
                    continue
                selector.unregister(key.fd)
                os.close(key.fd)
                if late:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                if not late and (answer := _decode(bytes(text))):
                    answers.append(answer)
    return answers


def _tickets(count: int) -> int:
    """Make a pipe that holds the numbers of all shares: each worker takes the next when it is done.

    One that has a core for itself so takes more than one that shares its core with us.
    """
    reader, writer = os.pipe()
    os.write(writer, b"".join(map(_TICKET.pack, range(count))))
    os.close(writer)
    return reader


def _decode(data: bytes) -> _Answer | None:
    try:
        return msgspec.msgpack.decode(data, type=_Answer)
    except msgspec.DecodeError:  # the worker was ended half-way
        return None


def _start(tickets: int, shares: Sequence[Sequence[int]], files: Collection[FileId]) -> tuple[int, int]:
    """Fork one worker; return its pid and the pipe that will carry its answer."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:  # the child: nothing of the parent's may run at its exit
        data = msgspec.msgpack.encode(_work(tickets, shares, files))
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)


def _work(tickets: int, shares: Sequence[Sequence[int]], files: Collection[FileId]) -> _Answer:
    taken: list[int] = []

    def pids() -> Iterator[int]:
        while ticket := os.read(tickets, _TICKET.size):  # whole: fs/pipe.c keeps a lock meanwhile
            taken.extend(_TICKET.unpack(ticket))
            yield from shares[taken[-1]]

    openers = scan(pids(), files)
    return _Answer(taken=tuple(taken), openers=openers)


def scan(pids: Iterable[int], files: Collection[FileId]) -> Openers:
    """Look at every descriptor of ``pids``, in this process."""
    found: list[OpenFd] = []
    denied: list[int] = []
    inodes = {inode for _, inode in files}
    look = _statx() or _stat()
    for pid in pids:
        try:
            if not _scan_one(pid, f"/proc/{pid}/fd", files, inodes, look, found):
                # A process whose first thread has ended shows its descriptors at the others only.
                tids = os.listdir(f"/proc/{pid}/task")
                if len(tids) > 1:
                    _scan_one(pid, f"/proc/{pid}/task/{tids[-1]}/fd", files, inodes, look, found)
        except PermissionError:
            denied.append(pid)
        except OSError:
            pass  # it ended while we looked
    return Openers(found=tuple(found), denied=tuple(denied))


def _scan_one(
    pid: int,
    directory: str,
    files: Collection[FileId],
    inodes: Collection[int],
    look: Look,
    found: list[OpenFd],
) -> bool:
    """Add the descriptors in ``directory`` that are on one of ``files``; say whether it has any at all."""
    inode_of, device = look
    some = False
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name, inode in _each(handle, inode_of):
            some = True
            if inode in inodes and (device(), inode) in files:
                target = to_text(os.fsdecode(os.readlink(name, dir_fd=handle)))
                found.append(OpenFd(pid=pid, fd=int(name), target=target, device=device(), inode=inode))
    finally:
        os.close(handle)
    return some


def _each(handle: int, inode_of: Callable[[int, bytes], int]) -> Iterator[tuple[bytes, int]]:
    """Yield every descriptor of a directory of them, and its inode.

    The directory's size is how many there are (fs/proc/fd.c since Linux 6.2, 0 before). Mostly they have
    the lowest numbers; to ask for those saves the listing, a sixth of the pass (measured).
    """
    count = os.fstat(handle).st_size
    seen = 0
    for name in _numbers(count):
        if inode := inode_of(handle, name):
            seen += 1
            yield name, inode
    if seen < count or not count:
        for listed in os.listdir(handle):
            if int(listed) >= count and (inode := inode_of(handle, name := listed.encode())):
                yield name, inode


def _numbers(count: int) -> Iterable[bytes]:
    """Name the first ``count`` descriptors; the names of most processes' are made once."""
    if count <= len(_FIRST):
        return _FIRST[:count]
    return (b"%d" % number for number in range(count))


def _statx() -> Look | None:
    """Build a fast statx(2) that never asks a file server; None where the C library has none.

    The plain types, made once, and a buffer that is read in place save a fifth of the whole pass (measured).
    """
    try:
        # In a process of its own: nobody else wants the interpreter's lock while it is in the kernel.
        function = ctypes.PyDLL(None).statx
    except AttributeError:
        return None
    buffer = (ctypes.c_uint64 * 32)()
    address = ctypes.c_void_p(ctypes.addressof(buffer))
    flags, mask = ctypes.c_int(_AT_STATX_DONT_SYNC), ctypes.c_uint(_STATX_INO)

    # struct statx, include/uapi/linux/stat.h: stx_ino at byte 32, stx_dev_major and _minor at 136.
    def inode(handle: int, name: bytes) -> int:
        return buffer[4] if function(handle, name, flags, mask, address) == 0 else 0

    def device() -> int:
        return os.makedev(*struct.unpack_from("II", buffer, 136))

    return inode, device


def _stat() -> Look:
    last = os.stat("/proc/self")

    def inode(handle: int, name: bytes) -> int:
        nonlocal last
        try:
            last = os.stat(name, dir_fd=handle)
        except OSError:
            return 0
        return last.st_ino

    return inode, lambda: last.st_dev
