"""What is left on stacks, on bytes as they lie there: signal frames, return addresses, pointers."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from diag.collectors import past_calls, signal_frames
from diag.host.core import pointers


def frame(*, trap: int, segments: int = 0x2B000000000033, address: int = 0x1B8) -> bytes:
    """Lay out a signal frame: 17 registers, flags, segments, error, trap, mask, address."""
    return bytes(48) + struct.pack("<23Q", *range(1, 18), 0x10246, segments, 4, trap, 0, address)


def test_a_page_fault_has_its_address() -> None:
    found = signal_frames.decode(frame(trap=14))
    assert found
    assert (found.signal, found.address, found.pc, found.sp) == (11, 0x1B8, 17, 16)


def test_a_general_protection_fault_has_none() -> None:
    found = signal_frames.decode(frame(trap=13))
    assert found
    assert (found.signal, found.address) == (11, None)


@pytest.mark.parametrize("bad", [frame(trap=99), frame(trap=14, segments=7), frame(trap=14)[:-1], b""])
def test_what_is_no_frame_of_a_fault_is_none(bad: bytes) -> None:
    assert signal_frames.decode(bad) is None


class Code:
    """Memory that holds these bytes right before address 0x1000."""

    def __init__(self, before: bytes) -> None:
        self.before = before

    def read(self, address: int, size: int) -> bytes:
        assert address + size == 0x1000
        return self.before.rjust(7, b"\x90")[-size:]


@pytest.mark.parametrize(
    ("machine", "before", "call"),
    [
        ("x86_64", "e8 10 20 30 40", True),  # call rel32
        ("x86_64", "ff d0", True),  # call *%rax
        ("x86_64", "ff 15 10 20 30 40", True),  # call *table(%rip)
        ("x86_64", "ff 50 18", True),  # call *0x18(%rax)
        ("x86_64", "48 89 c7", False),  # mov %rax,%rdi
        ("x86_64", "e9 10 20 30 40", False),  # jmp
        ("aarch64", "10 00 00 94", True),  # bl
        ("aarch64", "00 00 3f d6", True),  # blr x0
        ("aarch64", "1f 20 03 d5", False),  # nop
    ],
)
def test_a_return_address_has_a_call_before_it(machine: str, before: str, call: bool) -> None:
    code: Any = Code(bytes.fromhex(before))
    assert past_calls.is_return(code, machine, 0x1000) is call


def test_pointers_are_aligned_and_inside_of_their_targets() -> None:
    memory = struct.pack("<5Q", 0x5000, 0x4FFF, 0x5FFF, 0x6000, 0x9000)

    def read(address: int, size: int) -> bytes:
        if address >= 0x20000:
            raise OSError
        return memory[address - 0x10000 :][:size]

    places = [(0x10001, 0x10028), (0x20000, 0x20100)]
    found = pointers.find(read, places, [(0x9000, 0x9001), (0x5000, 0x6000)])
    assert [(hit.address, hit.word) for hit in found.found] == [(0x10010, 0x5FFF), (0x10020, 0x9000)]
    assert not found.cut
    assert not pointers.find(read, places, []).found
