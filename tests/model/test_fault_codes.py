"""Error codes of every processor in words, on lines written from the kernels' formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diag.model import fault
from tests.crashes.logs import MAP, kernel, read, segfault

if TYPE_CHECKING:
    from diag.model.crash import CrashEvent


def event(text: str) -> CrashEvent:
    name = "app[7]: " if text.startswith(("segfault", "unhandled")) else ""
    (found,) = read(kernel(name + text))
    return found


@pytest.mark.parametrize(
    ("text", "access", "number", "words"),
    [
        ("unhandled level 2 translation fault (11) at 0x1b8, esr 0x92000006", "read", 11, "NULL+0x1b8"),
        ("unhandled level 3 translation fault (11) at 0x7f001b80, esr 0x92000047", "write", 11, "no page"),
        ("unhandled level 3 permission fault (11) at 0x7f001b80, esr 0x9200004f", "write", 11, "allow"),
        ("unhandled level 1 translation fault (11) at 0x0, esr 0x82000005", "execute", 11, "bad address"),
        ("unhandled exception: DABT, ESR 0x92000051, synchronous tag check fault", "write", 11, "tag"),
        ("unhandled exception: DABT, ESR 0x92000021, alignment fault", "read", 7, "aligned"),
        ("unhandled exception: SP Alignment, ESR 0x9a000000, alignment exception", None, 7, "stack"),
        ("unhandled exception: BRK (AArch64), ESR 0xf2000001, BRK exception", None, 5, "breakpoint"),
        ("segfault (11) at 1b8 nip 10001000 lr 1 code 1 in app[10000000+10000]", None, 11, "NULL+0x1b8"),
        ("segfault (11) at 7f0012 nip 10001000 lr 1 code 2 in app[10000000+10000]", None, 11, "allow"),
        ("unhandled signal 8 at 10001000 nip 10001000 lr 1 code 1", None, 8, "divided by zero"),
        ("unhandled signal 7 code 0x1 at 0x3f728b5001 in x.so[3f72600000+2a8000]", None, 7, "aligned"),
        ("unhandled signal 11 code 0x1 at 0x130 in app[2ab0456000+8f000]", None, 11, "NULL+0x130"),
        ("unhandled signal 11 code 0x2 at 0x3f728b5000 in x.so[3f72600000+2a8000]", None, 11, "allow"),
        ("User process fault: interruption code 0001 ilc:1 in app[1000000+8000]", None, 4, "does not know"),
        ("User process fault: interruption code 0009 ilc:2 in app[1000000+8000]", None, 8, "divided by zero"),
        ("User process fault: interruption code 003b ilc:3 in app[1000000+8000]", None, 11, "no page"),
        ("app: unhandled page fault (11) at 0x00400010, code 0x817", "write", 11, "no page"),
        ("app: unhandled page fault (11) at 0xff520464, code 0x80000005", "execute", 11, "bad address"),
        ("do_page_fault(): sending SIGSEGV to a for invalid write access to 3c", "write", 11, "LL+0x3c"),
    ],
)  # fmt: skip
def test_codes_of_other_processors(text: str, access: str | None, number: int, words: str) -> None:
    found = event(text)
    assert (fault.access(found), fault.signal(found)) == (access, number)
    assert words in fault.what(found)


@pytest.mark.parametrize(
    ("line", "mapped"),
    [
        (segfault(), "library"),
        (segfault(tail=" in app[7f0000001000+2000]"), "executable"),
        (segfault(tail=""), "anonymous"),
        (segfault(address=0, ip=0, error=0x14, tail=""), "nothing"),
        (segfault(address=0x7F0000001010, error=0x15), "data"),
        (kernel(f"traps: app[77] trap divide error ip:7f0000001010 sp:7f24d3ffdc20 error:0{MAP}"), "library"),
        (kernel("app[7]: unhandled signal 11 code 0x1 at 0x0000000000000130"), None),
    ],
)
def test_what_lay_at_the_instruction_pointer(line: str, mapped: str | None) -> None:
    (found,) = read(line)
    assert fault.mapped(found) == mapped


def test_bytes_of_code_are_no_error_code() -> None:
    found = event("Code: 48 8b 45 f8 <8b> 80 b8 01 00 00 5d c3")
    assert (fault.access(found), fault.page(found), fault.mapped(found)) == (None, None, None)
