"""Who is at the other end of a UNIX socket: sock_diag(7), which /proc does not tell."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_SHOW_PEER = 4  # UDIAG_SHOW_PEER, include/uapi/linux/unix_diag.h
_ATTRIBUTE_PEER = 2  # UNIX_DIAG_PEER
_NO_COOKIE = 0xFFFFFFFF
_CLONE_NEWNET = 0x40000000
_PATIENCE = 1.0  # seconds


def unix_peer(pid: int, inode: int) -> int:
    """Return the inode of the other end of UNIX socket ``inode``; 0 when it has none.

    The question is asked in the network namespace of ``pid``. Where that is not our own, a thread
    enters it (needs CAP_SYS_ADMIN) and ends with the answer; diag itself never moves.
    """
    path = f"/proc/{pid}/ns/net"
    if os.readlink(path) == os.readlink("/proc/self/ns/net"):
        return _ask(inode)
    box: list[int | OSError] = []

    def work() -> None:
        try:
            _enter(path)
            box.append(_ask(inode))
        except OSError as error:
            box.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(2 * _PATIENCE)
    if not box:
        raise TimeoutError(errno.ETIMEDOUT, "sock_diag did not answer", path)
    if isinstance(box[0], OSError):
        raise box[0]
    return box[0]


def _enter(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(handle)


def _ask(inode: int) -> int:
    # struct unix_diag_req: family, protocol, pad, states, ino, show, cookie[2]
    body = struct.pack(
        "=BBHIIIII", socket.AF_UNIX, 0, 0, _ALL_STATES, inode, _SHOW_PEER, _NO_COOKIE, _NO_COOKIE
    )
    head = struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_PATIENCE)
        link.send(head + body)
        return parse_answer(link.recv(1 << 16))


def parse_answer(data: bytes) -> int:
    """Read one answer of the kernel: the inode of the peer, 0 for none; OSError for its errors."""
    length, kind = struct.unpack_from("=IH", data)
    if kind == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", data, 16)[0]
        raise OSError(code, os.strerror(code), "sock_diag")
    at = 16 + 16  # the header, and struct unix_diag_msg
    while at + 4 <= length:
        size, attribute = struct.unpack_from("=HH", data, at)
        if attribute == _ATTRIBUTE_PEER:
            peer: int = struct.unpack_from("=I", data, at + 4)[0]
            return peer
        at += max(4, (size + 3) & ~3)
    return 0
