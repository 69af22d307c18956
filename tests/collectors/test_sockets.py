"""Socket tables, as Linux 6.18 wrote them."""

from __future__ import annotations

import socket
import struct

import pytest

from diag.collectors import sockets
from diag.host.sockdiag import parse_answer, parse_listeners
from diag.model.io import Socket

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C4F5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 362219 1 00000000f6d996df
   1: 0100007F:8C5A 0500000A:0CEA 01 00000000:00000000 02:000005A1 00000000  1000        0 362220 2 000000000171fafe
   2: 0100007F:8C5B 0500000A:0CEA 02 00000000:000000
"""  # noqa: E501
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 20 4 30 10 -1
"""  # noqa: E501
UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
000000007c4d52a7: 00000003 00000000 00000000 0001 03 362218
0000000066d33bb7: 00000002 00000000 00010000 0001 01  1065 /run/a b/mysqld.sock
000000000a1b2c3d: 00000002 00000000 00000000 0002 01  1066 @/org/kernel
"""
NETLINK = """\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
000000002a0f8b43 0   0          00000000 0        0        0     2        0        4
"""


def test_tcp() -> None:
    listening, established = sockets.parse(TCP, "tcp")  # the line cut short is left out
    assert listening == Socket(inode=362219, family="tcp", state="listen", local="127.0.0.1:50421")
    assert established.remote == "10.0.0.5:3306"
    assert established.state == "established"


def test_tcp6_shows_mapped_addresses_as_people_write_them() -> None:
    listening, mapped = sockets.parse(TCP6, "tcp6")
    assert listening.local == "[::]:8080"
    assert (mapped.local, mapped.remote) == ("127.0.0.1:8080", "127.0.0.1:54321")


def test_unix() -> None:
    nameless, listening, abstract = sockets.parse(UNIX, "unix")
    assert (nameless.inode, nameless.state, nameless.local) == (362218, "established", "")
    assert (listening.state, listening.local) == ("listen", "/run/a b/mysqld.sock")
    assert abstract.local == "@/org/kernel"


def test_netlink() -> None:
    assert [row.inode for row in sockets.parse(NETLINK, "netlink")] == [4]


@pytest.mark.parametrize("table", sockets.TABLES)
@pytest.mark.parametrize("text", ["", "header only\n", "h\n\n \n", "h\ngarbage\n"])
def test_nothing_and_garbage_give_nothing(table: str, text: str) -> None:
    assert list(sockets.parse(text, table)) == []


CONNECTIONS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C4F5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10 1 0
   1: 0100007F:8C5A 0100007F:C4F5 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   2: 0100007F:C4F5 0100007F:8C5A 01 00000000:00000007 00:00000000 00000000     0        0 0 1 0
   3: 0100007F:8C5B 0100007F:C4F5 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0
   4: 0100007F:C4F5 0100007F:8C5B 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0
   5: 0100007F:8C5C 0100007F:C4F5 01 00000000:00000000 00:00000000 00000000     0        0 15 1 0
   6: 0100007F:C4F5 0100007F:8C5C 04 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   7: 0100007F:8C5D 0100007F:C4F5 02 00000000:00000000 00:00000000 00000000     0        0 17 1 0
   8: 0100007F:8C5E 0500000A:C4F5 02 00000000:00000000 00:00000000 00000000     0        0 18 1 0
"""


@pytest.mark.parametrize(
    ("inode", "peer", "queued", "serves"),
    [
        (11, 10, True, False),  # nobody has accepted it: who listens could
        (13, 14, False, False),
        (14, 13, False, True),
        (15, 0, False, False),  # the other end was closed
        (17, 10, True, False),  # its first packet is not answered: the queue is full
        (18, None, False, False),  # another host, by chance with the same port
        (10, None, False, False),
    ],
)
def test_the_other_end_within_one_host(inode: int, peer: int | None, *, queued: bool, serves: bool) -> None:
    tcp = sockets.Tcp(tuple(sockets.parse(CONNECTIONS, "tcp")))
    row = tcp.with_peer(tcp.by_inode[inode])
    assert (row.peer, row.queued, row.serves) == (peer, queued, serves)


def test_who_listens_and_has_a_connection_queued() -> None:
    waiting = struct.pack("=HHII", 12, 3, 41, 42)
    done = struct.pack("=IHHIIi", 20, 3, 0, 1, 0, 0)
    assert parse_listeners(answer(waiting), 42) == (True, 5)
    assert parse_listeners(answer(waiting), 43) == (False, 0)
    assert parse_listeners(answer(waiting) + done, 43) == (True, 0)
    assert parse_listeners(b"", 42) == (False, 0)


def answer(*attributes: bytes, kind: int = 20) -> bytes:
    body = struct.pack("=BBBBIII", socket.AF_UNIX, 1, 1, 0, 5, 0, 0) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_sock_diag_answers() -> None:
    peer = struct.pack("=HHI", 8, 2, 4711)
    assert parse_answer(answer(struct.pack("=HH4s", 7, 0, b"@a\0\0"), peer)) == 4711
    assert parse_answer(answer()) == 0
    assert parse_answer(answer(struct.pack("=HH", 0, 9))) == 0  # a length of nothing must not loop
    with pytest.raises(FileNotFoundError):
        parse_answer(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -2))
