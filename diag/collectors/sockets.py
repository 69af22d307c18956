"""Sockets of a network namespace, from /proc/PID/net/* (proc_pid_net(5), net/ipv4/tcp_ipv4.c)."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

from diag.model.io import Socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diag.host import Host

# include/net/tcp_states.h
_TCP_STATES = {
    "01": "established", "02": "syn-sent", "03": "syn-recv", "04": "fin-wait-1", "05": "fin-wait-2",
    "06": "time-wait", "07": "close", "08": "close-wait", "09": "last-ack", "0A": "listen", "0B": "closing",
}  # fmt: skip
# include/uapi/linux/net.h, socket_state; a listening socket is told by its flags.
_UNIX_STATES = {"01": "unconnected", "02": "connecting", "03": "established", "04": "disconnecting"}
_ACCEPTS = 0x00010000  # __SO_ACCEPTCON

TABLES = ("tcp", "tcp6", "unix", "udp", "udp6", "netlink")
"""In the order in which a waiting thread's socket is most often found."""


def parse_address(text: str) -> str:
    """Turn ``0100007F:0050`` into ``127.0.0.1:80``; the address is words in the byte order of the host."""
    words, _, port = text.partition(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    address = ipaddress.ip_address(raw)
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return f"{mapped}:{int(port, 16)}" if mapped else f"[{address}]:{int(port, 16)}"
    return f"{address}:{int(port, 16)}"


def parse_inet(text: str, family: str) -> Iterator[Socket]:
    """Parse tcp, tcp6, udp or udp6; lines cut short are left out."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 10:
            continue
        yield Socket(
            inode=int(words[9]),
            family=family,
            state=_TCP_STATES.get(words[3], words[3]) if family.startswith("tcp") else "",
            local=parse_address(words[1]),
            remote="" if words[2].endswith(":0000") else parse_address(words[2]),
        )


def parse_unix(text: str) -> Iterator[Socket]:
    """Parse unix, whose last column, the path, may hold spaces or be missing."""
    for line in text.splitlines()[1:]:
        words = line.split(None, 7)
        if len(words) < 7:
            continue
        listens = int(words[3], 16) & _ACCEPTS
        yield Socket(
            inode=int(words[6]),
            family="unix",
            state="listen" if listens else _UNIX_STATES.get(words[5], words[5]),
            local=words[7] if len(words) > 7 else "",
        )


def parse_netlink(text: str) -> Iterator[Socket]:
    """Parse netlink: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) >= 10:
            yield Socket(inode=int(words[9]), family="netlink", state="")


def parse(text: str, table: str) -> Iterator[Socket]:
    """Parse one of ``TABLES``."""
    if table == "unix":
        return parse_unix(text)
    return parse_netlink(text) if table == "netlink" else parse_inet(text, table)


def collect(host: Host, pid: int, inodes: frozenset[int]) -> tuple[Socket, ...]:
    """Find the sockets ``inodes`` in the network namespace of ``pid``, and those at their other ends.

    Tables are read one by one until all are found: on a busy server tcp is long.
    """
    found: dict[int, Socket] = {}
    for table in TABLES:
        if inodes <= found.keys():
            break
        table_rows = rows(host, pid, table)
        peers = _tcp_peers(table_rows) if table.startswith("tcp") else {}
        by_inode = {row.inode: row for row in table_rows}
        for inode in sorted(inodes & by_inode.keys()):
            found[inode] = row = _with_peer(host, pid, by_inode[inode], peers)
            if row.peer and row.peer in by_inode:
                found.setdefault(row.peer, by_inode[row.peer])
    return tuple(found.values())


def rows(host: Host, pid: int, table: str) -> tuple[Socket, ...]:
    """Every socket of one of ``TABLES`` in the namespace of ``pid``; none where it may not be seen."""
    try:
        text = host.read(f"/proc/{pid}/net/{table}").decode("utf-8", "replace")
    except OSError:  # no IPv6, or no right to see it
        return ()
    return tuple(parse(text, table))


def _tcp_peers(rows: tuple[Socket, ...]) -> dict[tuple[str, str], int]:
    """Inode by (local, remote): the other end of a connection within one host has them reversed."""
    return {(row.local, row.remote): row.inode for row in rows if row.remote}


def _with_peer(host: Host, pid: int, row: Socket, peers: dict[tuple[str, str], int]) -> Socket:
    peer = peers.get((row.remote, row.local))
    if row.family == "unix" and row.state != "listen":
        try:
            peer = host.unix_peer(pid, row.inode)
        except OSError:
            peer = None
    return Socket(
        inode=row.inode, family=row.family, state=row.state, local=row.local, remote=row.remote, peer=peer
    )
