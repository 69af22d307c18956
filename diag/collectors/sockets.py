"""Sockets of a network namespace, from /proc/PID/net/* (proc_pid_net(5), net/ipv4/tcp_ipv4.c)."""

from __future__ import annotations

import ipaddress
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.model.io import Socket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diag.host import Host

# include/net/tcp_states.h
_TCP_STATES = {
    "01": "established", "02": "syn-sent", "03": "syn-recv", "04": "fin-wait-1", "05": "fin-wait-2",
    "06": "time-wait", "07": "close", "08": "close-wait", "09": "last-ack", "0A": "listen", "0B": "closing",
}  # fmt: skip
# include/uapi/linux/net.h, socket_state; a listening socket is told by its flags.
_UNIX_STATES = {"01": "unconnected", "02": "connecting", "03": "established", "04": "disconnecting"}
_ACCEPTS = 0x00010000  # __SO_ACCEPTCON
_UNACCEPTED = ("established", "syn-recv", "close-wait")  # not those that were closed: no inode either

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
    tcp: Tcp | None = None
    for table in TABLES:
        if inodes <= found.keys():
            break
        table_rows = rows(host, pid, table)
        by_inode = {row.inode: row for row in table_rows if row.inode}
        for inode in sorted(inodes & by_inode.keys()):
            if table.startswith("tcp"):
                tcp = tcp or Tcp(tuple(row for each in ("tcp", "tcp6") for row in rows(host, pid, each)))
                found[inode] = row = tcp.with_peer(by_inode[inode])
                by_inode = {**tcp.by_inode, **by_inode}
            else:
                found[inode] = row = _with_peer(host, pid, by_inode[inode], by_inode)
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


class Tcp:
    """All TCP sockets of a network namespace, both families: one end of a connection may be in either."""

    def __init__(self, rows: tuple[Socket, ...]) -> None:
        self.by_inode = {row.inode: row for row in rows if row.inode}
        self._by_ends = {(row.local, row.remote): row for row in rows if row.remote}
        self._listening = [row for row in rows if row.state == "listen"]
        self._own = {_host(row.local) for row in rows}

    def with_peer(self, row: Socket) -> Socket:
        """Add the other end, if it is on this host: it has the addresses reversed.

        Before accept(2) the kernel's half of a connection belongs to nobody; its listening socket does.
        """
        other = self._by_ends.get((row.remote, row.local))
        serves = row.state != "listen" and self._listener(row.local) is not None
        if other is not None and (other.inode or other.state not in _UNACCEPTED):
            return replace(row, peer=other.inode, serves=serves)
        listener = self._listener(row.remote) if other or row.state == "syn-sent" else None
        return replace(row, peer=listener and listener.inode, queued=listener is not None, serves=serves)

    def _listener(self, address: str) -> Socket | None:
        """The socket that takes connections to an address of this host."""
        port = address.rpartition(":")[2]
        if not port or not (_is_loopback(address) or _host(address) in self._own):
            return None
        places = (address, f"0.0.0.0:{port}", f"[::]:{port}")
        return next((row for place in places for row in self._listening if row.local == place), None)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "[::1]"))


def _with_peer(host: Host, pid: int, row: Socket, rows: Mapping[int, Socket]) -> Socket:
    if row.family != "unix" or row.state == "listen":
        return row
    try:
        peer = host.unix_peer(pid, row.inode)
    except OSError:
        return row
    # What listens gives its name to the sockets that it accepts; who connects has most often none.
    queued = peer in rows and rows[peer].state == "listen"
    return replace(row, peer=peer, queued=queued, serves=bool(row.local) and row.state == "established")


def listener(host: Host, pid: int, path: str) -> Socket | None:
    """The UNIX socket that listens on a path or an abstract name ("@…")."""
    found = (row for row in rows(host, pid, "unix") if row.state == "listen" and row.local == path)
    return next(found, None)
