"""Damaged and forged ELF files: an answer or ``MalformedError``, soon; never anything else."""

from __future__ import annotations

import functools
import struct
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diag.collectors.elf.code import Code
from diag.collectors.elf.image import Image, build_id
from diag.collectors.elf.line_program import rows
from diag.collectors.elf.stream import Budget, Memory, Window
from diag.errors import MalformedError
from diag.host import LiveHost
from tests.collectors.elf.built import compiled, functions, tool

HOST = LiveHost()
SOON = 20.0  # seconds, on a machine under load: a healthy file takes a hundredth


@functools.cache
def whole(kind: str) -> tuple[bytes, tuple[int, ...]]:
    """The bytes of a real library, and addresses of its functions."""
    with TemporaryDirectory() as home:
        options = {"dwarf5": ("-g", "-O2"), "dwarf4": ("-gdwarf-4", "-O0"), "packed": ("-g", "-gz=zlib")}[
            kind
        ]
        path = compiled(Path(home) / "x.so", *options)
        starts = tuple(start + 1 for start, _ in functions(path).values())
        if kind == "packed":
            tool("strip", "--only-keep-debug", path)
        return path.read_bytes(), starts


def look(data: bytes, addresses: tuple[int, ...]) -> None:
    began = time.monotonic()
    try:
        image = Image(Memory(data), "/nowhere/x.so")
        code = Code(HOST, image, ())
        for address in addresses[:4]:
            code.at(address)
            image.offset(address)
        assert image.build_id is None or isinstance(image.build_id, str)
        assert image.debug_link is None or image.debug_link.name
    except MalformedError:
        pass
    assert time.monotonic() - began < SOON


fuzz = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize("kind", ["dwarf5", "dwarf4", "packed"])
@fuzz
@given(draw=st.data())
def test_bytes_changed_anywhere(kind: str, draw: st.DataObject) -> None:
    data, addresses = whole(kind)
    damaged = bytearray(data)
    places = st.one_of(
        st.integers(0, 4096), st.integers(0, len(data) - 1), st.integers(len(data) - 3000, len(data) - 1)
    )
    for _ in range(draw.draw(st.integers(1, 12))):
        place = draw.draw(places)
        new = draw.draw(
            st.one_of(
                st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x80" * 8])
            )
        )
        damaged[place : place + len(new)] = new
    look(bytes(damaged), addresses)


@pytest.mark.parametrize("kind", ["dwarf5", "packed"])
@fuzz
@given(draw=st.data())
def test_cut_anywhere(kind: str, draw: st.DataObject) -> None:
    data, addresses = whole(kind)
    look(data[: draw.draw(st.integers(0, len(data)))], addresses)


@fuzz
@given(st.binary(max_size=400))
def test_rubbish_behind_a_right_beginning(rest: bytes) -> None:
    look(b"\x7fELF\x02\x01\x01" + rest, (0x1000,))
    look(b"\x7fELF\x01\x02\x01" + rest, (0x1000,))


@fuzz
@given(st.binary(max_size=200), st.sampled_from("<>"))
def test_notes(notes: bytes, order: str) -> None:
    found = build_id(notes, order)
    assert found is None or bytes.fromhex(found) in notes


HEADER = {
    "minimum_instruction_length": 1,
    "line_range": 14,
    "opcode_base": 13,
    "line_base": -5,
    "standard_opcode_lengths": [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1],
}


@fuzz
@given(st.binary(max_size=300))
def test_line_programs(program: bytes) -> None:
    for row, end in rows(program, HEADER, little=True):
        assert row.address < end


def test_a_section_that_unpacks_beyond_measure_is_refused() -> None:
    data, addresses = whole("packed")
    damaged = bytearray(data)
    # The size after unpacking, in each Elf64_Chdr (type 1, reserved 0, size, alignment 1 or 8).
    place = 0
    while (place := damaged.find(b"\x01\0\0\0\0\0\0\0", place)) >= 0:
        struct.pack_into("<Q", damaged, place + 8, 1 << 60)
        place += 8
    look(bytes(damaged), addresses)


def read_for_ever(window: Window) -> None:
    while True:
        window.seek(0)
        window.read(1)


def test_a_reader_led_in_circles_runs_out_of_budget() -> None:
    window = Window(Memory(b"x" * 100), 0, 100, Budget(reads=1000))
    with pytest.raises(MalformedError):
        read_for_ever(window)


def test_a_window_ends_where_its_bytes_do() -> None:
    window = Window(Memory(b"0123456789"), 4, 1 << 60, Budget())
    assert (window.size, window.read(1 << 50), window.read(1)) == (6, b"456789", b"")
    window.seek(100)
    assert window.read(1) == b""
    with pytest.raises(MalformedError):
        window.seek(-1)
