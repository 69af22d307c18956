"""Which request is whose, and which lock stands in whose way: on lines as /proc prints them."""

from __future__ import annotations

import pytest

from diag.collectors.descriptors import Descriptor
from diag.collectors.file_locks import FileLock, make_device, parse_fdinfo, parse_locks
from diag.model.facts import Syscall
from diag.waits import file_lock

DEVICE = make_device(0xFE, 0)
ID = (DEVICE, 7)


def lock(text: str) -> FileLock:
    return parse_locks(f"1: {text}")[0]


@pytest.mark.parametrize(
    ("held", "wanted", "conflict"),
    [
        ("FLOCK ADVISORY WRITE 1 fe:00:7 0 EOF", "FLOCK ADVISORY READ 2 fe:00:7 0 EOF", True),
        ("FLOCK ADVISORY READ 1 fe:00:7 0 EOF", "FLOCK ADVISORY READ 2 fe:00:7 0 EOF", False),
        ("FLOCK ADVISORY WRITE 1 fe:00:7 0 EOF", "FLOCK ADVISORY WRITE 2 fe:01:7 0 EOF", False),
        ("FLOCK ADVISORY WRITE 1 fe:00:7 0 EOF", "POSIX ADVISORY WRITE 2 fe:00:7 0 EOF", False),
        ("POSIX ADVISORY WRITE 1 fe:00:7 0 9", "OFDLCK ADVISORY WRITE -1 fe:00:7 9 12", True),
        ("POSIX ADVISORY WRITE 1 fe:00:7 0 9", "OFDLCK ADVISORY WRITE -1 fe:00:7 10 12", False),
        ("POSIX ADVISORY WRITE 1 fe:00:7 0 9", "POSIX ADVISORY WRITE 1 fe:00:7 0 9", False),
        ("POSIX ADVISORY WRITE 1 fe:00:7 5 EOF", "POSIX ADVISORY READ 2 fe:00:7 100 100", True),
    ],
)
def test_who_stands_in_whose_way(held: str, wanted: str, conflict: bool) -> None:
    assert file_lock.conflicts(lock(held), lock(wanted)) is conflict


def test_the_tree_of_waiters() -> None:
    table = parse_locks(
        "1: FLOCK ADVISORY WRITE 10 fe:00:7 0 EOF\n"
        "1: -> FLOCK ADVISORY WRITE 11 fe:00:7 0 EOF\n"
        "1:  -> FLOCK ADVISORY WRITE 12 fe:00:7 0 EOF\n"
        "1: -> FLOCK ADVISORY WRITE 13 fe:00:7 0 EOF\n"
        "2: FLOCK ADVISORY WRITE 20 fe:00:8 0 EOF\n"
    )
    assert [(w.pid, root.pid, above.pid) for w, root, above in file_lock.queue(table)] == [
        (11, 10, 10), (12, 10, 11), (13, 10, 10),
    ]  # fmt: skip


def test_a_request_whose_lock_a_torn_read_lost_is_left_out() -> None:
    table = parse_locks(
        "1: FLOCK ADVISORY WRITE 10 fe:00:7 0 EOF\n2: -> FLOCK ADVISORY WRITE 11 fe:00:8 0 EOF\n"
    )
    assert file_lock.queue(table) == ()


def test_a_thread_finds_its_own_request_by_the_bytes_it_asks_for() -> None:
    table = parse_locks(
        "1: OFDLCK ADVISORY WRITE -1 fe:00:7 0 EOF\n"
        "1: -> OFDLCK ADVISORY WRITE -1 fe:00:7 0 9\n"
        "1: -> OFDLCK ADVISORY WRITE -1 fe:00:7 20 29\n"
        "1: -> OFDLCK ADVISORY WRITE -1 fe:00:8 20 29\n"
    )
    requests = file_lock.queue(table)
    call = Syscall(number=72, name="fcntl", arguments=(3, file_lock.F_OFD_SETLKW, 0, 0, 0, 0))
    asked = file_lock.request_of("ofd", call, 5, ID, (20, 29))
    found = file_lock.find_request(requests, asked, {ID})
    assert found is not None
    assert found[0].first == 20
    hidden = file_lock.request_of("ofd", call, 5, ID, (0, None))
    assert file_lock.find_request(requests, hidden, {ID}) == requests[0]
    assert file_lock.find_request(requests, asked, {(DEVICE, 9)}) is None


@pytest.mark.parametrize(
    ("name", "arguments", "blocked"),
    [
        ("flock", (0, 2), ("flock", 0)),
        ("fcntl", (4, 7), ("posix", 4)),
        ("fcntl", (4, 38), ("ofd", 4)),
        ("fcntl", (4, 6), None),  # F_SETLK does not wait
        ("read", (4, 7), None),
    ],
)
def test_what_a_system_call_waits_for(
    name: str, arguments: tuple[int, ...], blocked: tuple[str, int] | None
) -> None:
    assert file_lock.blocked_in(Syscall(number=1, name=name, arguments=arguments)) == blocked


def test_who_keeps_a_lock_is_who_has_it_in_fdinfo() -> None:
    table = parse_locks("9: FLOCK  ADVISORY  WRITE 100 fe:00:7 0 EOF\n")
    own = parse_fdinfo("lock:\t1: FLOCK  ADVISORY  WRITE 100 fe:00:7 0 EOF\n")

    def item(pid: int, locks: tuple[FileLock, ...]) -> Descriptor:
        return Descriptor(pid=pid, fd=3, path="/a", deleted=False, device=DEVICE, inode=7, locks=locks)

    keepers = file_lock.keepers(table[0], [item(100, ()), item(101, own)])
    assert [keeper.pid for keeper in keepers] == [101]
