"""Lines of /proc/locks and fdinfo, as Linux 6.18 prints them."""

from __future__ import annotations

import struct

import pytest

from diag.collectors.file_locks import (
    make_device,
    parse_fdinfo,
    parse_locks,
    parse_struct_flock,
    split_device,
)
from diag.errors import MalformedError

TABLE = """\
1: POSIX  ADVISORY  WRITE 2147 fe:00:2253964 0 9
1: -> POSIX  ADVISORY  WRITE 1891 fe:00:2253964 3 3
1:  -> OFDLCK ADVISORY  READ -1 fe:00:2253964 4 4
2: FLOCK  ADVISORY  READ 1871 fe:00:2253964 0 EOF
2: -> FLOCK  ADVISORY  WRITE 1872 fe:00:2253964 0 EOF
2:  -> FLOCK  ADVISORY  WRITE 1873 fe:00:2253964 0 EOF
2:   -> FLOCK  ADVISORY  WRITE 1874 fe:00:2253964 0 EOF
3: LEASE  BREAKING  UNLCK 18706 fe:00:2294075 0 EOF
3: -> LEASE  BREAKER   WRITE 18715 <none>:0 0 EOF
4: OFDLCK ADVISORY  WRITE -1 00:2d:6 100 109
"""


def test_a_table_with_waiters() -> None:
    locks = parse_locks(TABLE)
    assert [lock.kind for lock in locks] == [
        "posix", "posix", "ofd", "flock", "flock", "flock", "flock", "lease", "lease", "ofd",
    ]  # fmt: skip
    assert [lock.depth for lock in locks] == [0, 1, 2, 0, 1, 2, 3, 0, 1, 0]
    assert locks[0].last == 9
    assert locks[3].last is None
    assert locks[3].mode == "read"
    assert (locks[9].pid, locks[9].first, locks[9].last) == (-1, 100, 109)
    assert locks[9].device == make_device(0, 0x2D)
    assert locks[1].text == "1: -> POSIX  ADVISORY  WRITE 1891 fe:00:2253964 3 3"


def test_who_waits_for_a_lease_waits_for_its_file() -> None:
    held, breaker = parse_locks(TABLE)[7:9]
    assert held.breaking
    assert (breaker.device, breaker.inode, breaker.pid) == (held.device, held.inode, 18715)


def test_a_device_reads_and_writes_alike() -> None:
    for major, minor in ((0xFE, 0), (0, 0x2D), (8, 0x10001), (0x1FF, 3)):
        assert split_device(make_device(major, minor)) == f"{major:02x}:{minor:02x}"


def test_kinds_that_are_no_locks_are_left_out() -> None:
    assert (
        parse_locks("5: ACCESS MANDATORY NONE 0 fe:00:1 0 EOF\n6: FLOCK ADVISORY WRITE 7 <none>:0 0 EOF\n")
        == ()
    )


@pytest.mark.parametrize("line", ["x", "1: FLOCK", "1: FLOCK ADVISORY WRITE 5 fe:zz:1 0 EOF", "\x1b[31m"])
def test_an_unknown_form_is_said_to_be_one(line: str) -> None:
    with pytest.raises(MalformedError):
        parse_locks(line)


def test_the_locks_of_a_descriptor() -> None:
    text = (
        "pos:\t0\nflags:\t0100002\nmnt_id:\t21\nino:\t2253964\n"
        "lock:\t1: FLOCK  ADVISORY  WRITE 1871 fe:00:2253964 0 EOF\n"
        "lock:\t2: OFDLCK ADVISORY  WRITE -1 fe:00:2253964 20 24\n"
    )
    assert [(lock.kind, lock.pid) for lock in parse_fdinfo(text)] == [("flock", 1871), ("ofd", -1)]


@pytest.mark.parametrize(
    ("fields", "span"),
    [
        ((1, 0, 3, 4), (3, 6)),
        ((1, 0, 0, 0), (0, None)),
        ((1, 0, 7, 0), (7, None)),
        ((1, 1, 3, 4), (0, None)),  # counted from where the file stands: not known
        ((1, 0, 9, -2), (0, None)),
    ],
)
def test_the_range_of_a_request(fields: tuple[int, ...], span: tuple[int, int | None]) -> None:
    assert parse_struct_flock(struct.pack("=hh4xqq", *fields)) == span
    assert parse_struct_flock(b"\1\0") == (0, None)
