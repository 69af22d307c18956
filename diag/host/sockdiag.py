"""Who is at the other end of a UNIX socket: sock_diag(7), which /proc does not tell."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

from diag.host.namespaces import within

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
# include/uapi/linux/unix_diag.h
_SHOW_PEER, _SHOW_ICONS = 4, 8
_ATTRIBUTE_PEER, _ATTRIBUTE_ICONS = 2, 3
_LISTENING = 1 << 10  # TCP_LISTEN
_NLMSG_DONE = 3
_NLM_F_DUMP = 0x300
_MOST_ANSWERS = 1 << 14
_NO_COOKIE = 0xFFFFFFFF
_PATIENCE = 1.0  # seconds


def unix_peer(pid: int, inode: int) -> int:
    """Return the inode of the other end of UNIX socket ``inode``; 0 when it has none.

    As long as nobody has accepted a connection, its other end is the listening socket. The question is
    asked in the network namespace of ``pid``.
    """
    return within(pid, "net", lambda: _ask(inode))


def _ask(inode: int) -> int:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_PATIENCE)
        link.send(_question(_NLM_F_REQUEST, _ALL_STATES, inode, _SHOW_PEER))
        if peer := parse_answer(link.recv(1 << 16)):
            return peer
        link.send(_question(_NLM_F_REQUEST | _NLM_F_DUMP, _LISTENING, 0, _SHOW_ICONS))
        for _ in range(_MOST_ANSWERS):
            done, found = parse_listeners(link.recv(1 << 16), inode)
            if done or found:
                return found
    return 0


def _question(flags: int, states: int, inode: int, show: int) -> bytes:
    # struct unix_diag_req: family, protocol, pad, states, ino, show, cookie[2]
    body = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, states, inode, show, _NO_COOKIE, _NO_COOKIE)
    return struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + body


def parse_listeners(data: bytes, inode: int) -> tuple[bool, int]:
    """Read a part of a list of listening sockets: whether it is over, and in whose queue ``inode`` is."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < 32:
            return True, 0
        for attribute, value in _attributes(data, at + 32, min(at + length, len(data))):
            if attribute == _ATTRIBUTE_ICONS and (inode,) in struct.iter_unpack(
                "=I", value[: len(value) & ~3]
            ):
                listener: int = struct.unpack_from("=I", data, at + 20)[0]
                return True, listener
        at += (length + 3) & ~3
    return False, 0


def parse_answer(data: bytes) -> int:
    """Read one answer of the kernel: the inode of the peer, 0 for none; OSError for its errors."""
    length, kind = struct.unpack_from("=IH", data)
    if kind == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", data, 16)[0]
        raise OSError(code, os.strerror(code), "sock_diag")
    # The attributes follow the header and struct unix_diag_msg, of 16 bytes each.
    for attribute, value in _attributes(data, 32, min(length, len(data))):
        if attribute == _ATTRIBUTE_PEER and len(value) >= 4:
            peer: int = struct.unpack_from("=I", value)[0]
            return peer
    return 0


def _attributes(data: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= end:
        size, attribute = struct.unpack_from("=HH", data, at)
        yield attribute, data[at + 4 : min(at + size, end)]
        at += max(4, (size + 3) & ~3)
