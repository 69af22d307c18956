"""Which bytes belong to which crash, and what the instruction tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from diag.collectors.disassembly import decode
from diag.collectors.elf.fitting import Mapped, address
from diag.collectors.elf.image import Image
from diag.crashes.opcodes import of_crashes, parse
from diag.crashes.operands import contradiction, words
from diag.model.code import Segment
from diag.model.crash import LogLine
from tests.crashes.logs import MAP, START, kernel, read, segfault

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent

AT = LogLine(file="x", line=1)
CODE = kernel("Code: 0f 1f 80 00 00 00 00 f3 0f 1e fa 55 48 89 e5 48 8b 45 f8 <8b> 80 b8 01 00 00 5d c3")


def event(line: str) -> CrashEvent:
    (found,) = read(line)
    return found


def told(code: str, line: str, machine: str = "x64") -> str | None:
    found = decode(bytes.fromhex(code), machine, "test")
    assert found
    return words(found, event(line))


def trap(kind: str) -> str:
    return kernel(f"traps: app[77] {kind} ip:7f0000001010 sp:7f24d3ffdc20 error:0{MAP}")


@pytest.mark.parametrize(
    ("code", "address", "error", "said"),
    [
        ("8b80b8010000", 0x1B8, 4, "reads 4 bytes at [rax+0x1b8]: rax was NULL"),
        ("488987b8010000", 0x1B8, 6, "writes 8 bytes at [rdi+0x1b8]: rdi was NULL"),
        ("c60701", 0x10, 6, "writes a byte at [rdi]: rdi was 0x10, a small number and no pointer"),
        ("488b47f8", 0x41414139, 4, "reads 8 bytes at [rdi-0x8]: rdi was 0x41414141"),
        ("488b4708", 6, 4, "reads 8 bytes at [rdi+0x8]: rdi was -2, an error code or an index"),
        ("488b04d7", 0x1B8, 4, "reads 8 bytes at [rdi+rdx*8]"),  # two registers: neither is known
        ("f3a4", 0x1B8, 6, "writes a block at [rdi]: rdi was 0x1b8, a small number and no pointer"),
        ("f3a4", 0x1B8, 4, "reads a block at [rsi]: rsi was 0x1b8, a small number and no pointer"),
        ("ff5010", 0x10, 4, "fetches the address to call from [rax+0x10]: rax was NULL"),
        ("f0480fc107", 0, 6, "writes 8 bytes at [rdi]: rdi was NULL"),
        ("64488b042528000000", 0x1B8, 4, "reads 8 bytes at fs:[0x28]"),
        ("488b4708", 0x7F1234567000, 4, "reads 8 bytes at [rdi+0x8]"),  # may have crossed into the page
    ],
)  # fmt: skip
def test_the_operand_and_the_register(code: str, address: int, error: int, said: str) -> None:
    assert told(code, segfault(address=address, error=error)) == said


def test_traps() -> None:
    assert told("f7f9", trap("trap divide error")) == "the divisor was 0, or the result did not fit"
    assert "held no address that a program can have" in (
        told("488b07", trap("general protection fault")) or ""
    )
    assert "multiple of 16" in (told("0f290424", trap("general protection fault")) or "")
    assert "abort()" in (told("f4", trap("general protection fault")) or "")
    assert "unreachable" in (told("0f0b", trap("trap invalid opcode")) or "")


def test_arm64_and_32_bit_code_are_read_too() -> None:
    found = decode(bytes.fromhex("200840f9"), "AArch64", "test")
    assert found
    assert (str(found.operands[0]), found.operands[0].reads) == ("[x1+0x10]", True)
    assert told("8b4010", segfault(address=0x10), "x86") == "reads 4 bytes at [eax+0x10]: eax was NULL"
    assert decode(b"\x00" * 8, "MIPS", "test") is None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("4889f8", segfault()),  # mov between registers
        ("488b07", segfault(error=6)),  # reads, and the kernel saw a write
        ("488d4708", segfault()),  # lea touches nothing
        ("488b07", trap("trap divide error")),
        ("4889f8", trap("general protection fault")),
    ],
)
def test_an_instruction_that_can_not_have_faulted_shows_another_file(code: str, line: str) -> None:
    assert contradiction(decode(bytes.fromhex(code), "x64", "test"), event(line))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("50", segfault(error=6)),  # push
        ("c3", segfault()),
        ("488b07", trap("general protection fault")),
        ("f4", trap("general protection fault")),
        ("ffe0", trap("general protection fault")),
        ("f7f9", trap("trap divide error")),
        ("f77f10", trap("trap divide error")),
        ("0f0b", trap("trap invalid opcode")),
        ("c5fd6f06", trap("trap invalid opcode")),  # AVX on a processor without it
    ],
)
def test_what_can_have_faulted_is_not_doubted(code: str, line: str) -> None:
    assert contradiction(decode(bytes.fromhex(code), "x64", "test"), event(line)) is None


def test_code_bytes_go_to_the_line_before_them() -> None:
    crash, code = read(segfault(), CODE)
    assert of_crashes([crash, code])[crash.at].rest.hex() == "8b80b80100005dc3"


def test_code_bytes_of_two_crashes_at_once_go_to_nobody() -> None:
    assert of_crashes(read(segfault(tid=1), segfault(tid=2), CODE, CODE)) == {}


def test_code_bytes_far_away_or_later_go_to_nobody() -> None:
    late = CODE.replace("1000.000000", "1000.900000")
    assert of_crashes(read(segfault(), late)) == {}
    other = [replace(one, at=LogLine(file="y", line=2)) for one in read(CODE)]
    assert of_crashes([*read(segfault(START)), *other]) == {}


@pytest.mark.parametrize("text", ["", "8b <zz>", "8b 80", "<8b> <80>", "e59f3010 (e5933000)", "<8b>80"])
def test_other_forms_of_code_lines_are_no_bytes(text: str) -> None:
    assert parse(text, AT) is None


class Sketch(Image):
    """Only segments: what fitting looks at."""

    def __init__(self, *segments: Segment, machine: str = "x64") -> None:
        self.segments = segments
        self.machine = machine


def segment(offset: int, start: int, size: int, *, executable: bool = True) -> Segment:
    return Segment(
        type="PT_LOAD", offset=offset, address=start, file_size=size, memory_size=size, executable=executable
    )


def test_a_file_fits_when_size_and_place_of_its_code_are_those_of_the_mapping() -> None:
    image = Sketch(segment(0, 0, 0x800, executable=False), segment(0x1040, 0x401040, 0x1200))
    told = Mapped(ip=0x7F0000001010, base=0x7F0000000000, size=0x2000, offset=0x2010)
    assert address(image, told) == 0x402010
    assert address(image, told._replace(offset=None)) == 0x402010
    assert address(image, told._replace(size=0x3000)) is None
    assert address(image, told._replace(offset=0x3010)) is None


def test_large_pages_of_other_machines_fit_too() -> None:
    image = Sketch(segment(0x9F40, 0x19F40, 0x1200), machine="AArch64")
    assert address(image, Mapped(0xFFFF80010000 + 0x20, 0xFFFF80010000, 0x10000, 0x20)) == 0x10020
