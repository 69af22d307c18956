"""Descriptors that are waited on, mappings, and thread ids in memory."""

from __future__ import annotations

import struct

import pytest

from diag.collectors import maps, open_files
from diag.collectors.thread_ids import find_tids

EPOLL = """\
pos:\t0
flags:\t02
mnt_id:\t17
ino:\t1038
tfd:       13 events:       19 data:     7ff90000000d  pos:0 ino:20e7b sdev:9
tfd:        5 events:       19 data:                5  pos:0 ino:20e7c sdev:9
"""
MAPS = """\
5651d8eef000-5651d8ef0000 r--p 00000000 fe:00 86389                      /opt/bin/python3.12
5651d8ef3000-5651d8ef4000 rw-p 00003000 fe:00 86389                      /opt/bin/python3.12
7f9024344000-7f90244b4000 rw-p 00543000 fe:00 86612                      /opt/lib/libpython3.12.so.1.0
7f90244b4000-7f90244b5000 rw-p 00000000 00:00 0
7f90244b6000-7f90244b7000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7ffc0
"""


def test_epoll_lists_what_it_watches() -> None:
    assert open_files.parse_watched(EPOLL) == (5, 13)
    assert open_files.parse_watched("") == ()


@pytest.mark.parametrize(("text", "pid"), [("Pid:\t12\n", 12), ("Pid:\t-1\n", None), ("flags:\t2\n", None)])
def test_pidfd(text: str, pid: int | None) -> None:
    assert open_files.parse_pidfd(text) == pid


def test_data_of_the_interpreter_is_the_library_and_the_memory_right_after_it() -> None:
    found = tuple(maps.parse_maps(MAPS))
    assert len(found) == 6
    assert maps.interpreter_data(found) == ((0x7F9024344000, 0x7F90244B5000),)
    alone = tuple(item for item in found if "libpython" not in item.path)
    assert maps.interpreter_data(alone) == ((0x5651D8EF3000, 0x5651D8EF4000),)
    assert maps.interpreter_data(()) == ()
    assert not maps.is_python_2(found)


def block(offset: int, tid: int) -> bytes:
    return b"\0" * offset + struct.pack("=i", tid) + b"\0" * (0x400 - offset - 4)


@pytest.mark.parametrize("offset", [0x2D0, 0x30, 0x184])
def test_thread_ids_are_found_by_what_makes_sense(offset: int) -> None:
    blocks = [block(offset, 11), block(offset, 12), b""]
    assert find_tids(blocks, frozenset({11, 12, 13})) == [11, 12, None]


def test_thread_ids_that_make_no_sense_are_unknown() -> None:
    same = [block(0x2D0, 11), block(0x2D0, 11)]
    assert find_tids(same, frozenset({11, 12})) == [None, None]
    assert find_tids([block(0x2D0, 99)], frozenset({11})) == [None]
    assert find_tids([], frozenset({11})) == []
