"""A brief wait and a stuck one, told by two samples and the looks between them."""

from __future__ import annotations

from msgspec.structs import replace

from diag.collectors.file_locks import parse_locks
from diag.investigate.second_sample import _look, same_sleep
from diag.model.facts import Syscall, Thread

ASLEEP = Thread(
    pid=5,
    tid=5,
    name="app",
    state="S",
    syscall=Syscall(number=73, name="flock", arguments=(3, 2)),
    wchan="locks_lock_inode_wait",
    voluntary=7,
    cpu=3,
)


def test_one_sleep_and_two() -> None:
    assert same_sleep(ASLEEP, ASLEEP)
    assert not same_sleep(ASLEEP, replace(ASLEEP, voluntary=8))
    assert same_sleep(ASLEEP, replace(ASLEEP, voluntary=9), switches=8)  # a tracer stopped it for a moment
    assert not same_sleep(ASLEEP, replace(ASLEEP, voluntary=16), switches=8)
    other = Syscall(number=0, name="read", arguments=(3, 2))
    assert not same_sleep(ASLEEP, replace(ASLEEP, syscall=other))
    assert not same_sleep(ASLEEP, replace(ASLEEP, state="R"))
    assert not same_sleep(ASLEEP, None)
    unseen = replace(ASLEEP, syscall=None)
    assert not same_sleep(unseen, replace(unseen, wchan="pipe_read"))


def test_a_ring_shows_in_one_read_of_the_table() -> None:
    table = parse_locks(
        "1: FLOCK ADVISORY WRITE 5 fe:00:7 0 EOF\n"
        "1: -> FLOCK ADVISORY WRITE 6 fe:00:7 0 EOF\n"
        "2: FLOCK ADVISORY WRITE 6 fe:00:8 0 EOF\n"
        "2: -> FLOCK ADVISORY WRITE 5 fe:00:8 0 EOF\n"
        "2:  -> FLOCK ADVISORY WRITE 9 fe:00:8 0 EOF\n"
    )
    assert _look(table).ringed == {5, 6}
