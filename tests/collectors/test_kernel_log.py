"""Lines written from the formats in the kernel's source, not taken from any log."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.collectors.crash_lines import NEEDLES, parse_line
from diag.model import fault
from diag.model.crash import CrashEvent, LogLine, Role

AT = LogLine(file="log", line=3)
HEAD = "Nov 11 07:00:01 web-01 kernel: [123456.789012] "


def known(text: str) -> CrashEvent:
    event = parse_line(text, AT)
    assert event is not None, text
    assert any(needle in text for needle in NEEDLES), text
    return event


def segfault(
    name: str = "app",
    address: int = 0x1B8,
    ip: int = 0x7F0000001010,
    sp: int = 0x7F0000F00000,
    error: int = 4,
    tail: str = "",
) -> str:
    """Write what show_signal_msg() of arch/x86/mm/fault.c prints."""
    return f"{name}[77]: segfault at {address:x} ip {ip:016x} sp {sp:016x} error {error:x}{tail}"


def test_the_old_form_names_no_place_in_the_file() -> None:
    event = known(HEAD + segfault(tail=" in libx.so.1[7f0000001000+2000]"))
    assert (event.kind, event.program, event.pid, event.signal) == ("x86-segfault", "app", 77, 11)
    assert (event.library, event.map_base, event.map_size, event.map_offset) == (
        "libx.so.1",
        "7f0000001000",
        "2000",
        None,
    )
    assert event.offset == 0x10
    assert (event.log_time, event.uptime, event.tag, event.role) == (
        "Nov 11 07:00:01",
        "123456.789012",
        "kernel",
        Role.CRASH,
    )


def test_the_new_form_names_the_place_in_the_file() -> None:
    tail = " in libx.so.1[21010,7f0000001000+2000] likely on CPU 3 (core 1, socket 0)"
    event = known(segfault(tail=tail))
    assert event.offset == 0x21010
    assert dict(event.details) == {"cpu": 3, "core": 1, "socket": 0}


@pytest.mark.parametrize(
    "name",
    [
        "python3",
        "Web Content",
        "worker: 0",
        "rs:main Q:Reg",
        "[weird",
        "a/b.c",
        "(sd-executor)",
        "über",
        "x]y",
    ],
)
@pytest.mark.parametrize("head", ["", HEAD, "[  12.345678][ T77] ", "2026-11-22T08:00:00+01:00 h kernel: "])
def test_names_of_threads_are_anything(name: str, head: str) -> None:
    assert known(head + segfault(name=name)).program == name


def test_the_library_is_only_blamed_when_ip_lies_in_it() -> None:
    above = known(segfault(address=0, ip=0, error=0x14, tail=" in libx.so.1[7f0000001000+2000]"))
    assert above.inside is False
    assert above.offset is None
    assert above.jumped


def test_error_is_hexadecimal() -> None:
    event = known(segfault(address=0x10, ip=0x10, error=0x15))
    assert (event.error, event.error_raw) == (0x15, "15")
    assert fault.access(event) == "execute"


@pytest.mark.parametrize(
    ("error", "access", "page"),
    [
        (4, "read", "no page is present there"),
        (6, "write", "no page is present there"),
        (7, "write", "the page is read-only"),
        (5, "read", "the page must not be read"),
        (0x15, "execute", "the page holds data, which must not be executed"),
        (0x25, "read", "a memory protection key forbids it"),
    ],
)
def test_the_error_code_in_words(error: int, access: str, page: str) -> None:
    event = known(segfault(address=0x5000, error=error))
    assert (fault.access(event), fault.page(event)) == (access, page)


@pytest.mark.parametrize(
    ("sp", "ip", "thread"),
    [
        (0x7FFD12345678, 0x7F0000001010, "main"),
        (0x7F24D3FFDC20, 0x7F24EA928FC8, "other"),
        (0x74BB34000000, 0x74BB34569000, "other"),  # mmap_rnd_bits = 32
        (0x7FFBD97FD8B8, 0x7FFBFCD3E7F7, "other"),  # the top of the mappings
        (0x7FFFFFFFE000, 0x7FFFF7DD0000, "main"),  # randomisation off
        (0x7FFFF7A00000, 0x7FFFF7DD0000, "other"),
        (0x2B6D2EA40450, 0x79DD99, "other"),  # legacy layout
        (0xBFD1853C, 0x182F43, None),  # a 32-bit program
        (0x3DFE5E7AF78, 0x36A42E3A99B, None),  # a hardened kernel's layout
    ],
)
def test_which_thread_it_was(sp: int, ip: int, thread: str | None) -> None:
    assert fault.thread(known(segfault(sp=sp, ip=ip))) == thread


def test_a_stack_overflow_lies_below_sp_or_in_its_page() -> None:
    for address, sp, over in (
        (0x7FFC1FE53FF8, 0x7FFC1FE54000, True),  # a push
        (0x7F00000FE020, 0x7F00000FE000, True),  # in sp's page
        (0x7FFC44D5B000, 0x7FFC44D59AE0, False),  # off the top: a buffer overrun
        (0x7F1234560000, 0x7FFC44D59AE0, False),
    ):
        event = known(segfault(address=address, sp=sp, error=6))
        assert fault.stack_overflow(event) is over
    assert fault.stack_overrun(known(segfault(address=0x7FFC44D5B000, sp=0x7FFC44D59AE0, error=6)))


@pytest.mark.parametrize(
    ("trap", "signal"),
    [
        ("general protection fault", 11),
        ("general protection", 11),
        ("trap divide error", 8),
        ("trap invalid opcode", 4),
        ("trap int3", 5),
    ],
)
def test_traps(trap: str, signal: int) -> None:
    text = f"traps: app[77] {trap} ip:7f0000001010 sp:7f0000f00000 error:0 in libx.so[7f0000001000+2000]"
    event = known(HEAD + text)
    assert (event.kind, event.trap, event.program, event.offset) == ("x86-trap", trap, "app", 0x10)
    assert fault.signal(event) == signal
    assert event.null_offset is None


def test_a_line_cut_short_gives_what_is_whole() -> None:
    event = known("[12.345678] app[77]: segfault at 1b8 ip 00007f00000")
    assert (event.kind, event.program, event.pid, event.address, event.ip) == (
        "truncated",
        "app",
        77,
        "1b8",
        None,
    )


@pytest.mark.parametrize(
    "text",
    [
        '    assert log == "app[77]: segfault at 0 ip 0000000000000000 sp 00007f0000f00000 error 4"',
        "    # app[77]: segfault at 0 ip 0000000000000000 sp 00007f0000f00000 error 4",
        "the driver segfault at start, see dmesg",
        "app[x]: segfault at 0 ip 0 sp 0 error 4",
        "segfault at 0 ip 0000000000000000 sp 00007f0000f00000 error 4",
    ],
)
def test_what_only_talks_of_crashes_is_none(text: str) -> None:
    assert parse_line(text, AT) is None


def test_a_container_log_is_unwrapped() -> None:
    inner = segfault(tail=" in libx.so.1[7f0000001000+2000]")
    docker = f'{{"log":"{inner}\\n","stream":"stderr","time":"2026-11-22T08:00:00.5Z"}}'
    cri = f"2026-11-22T08:00:00.5Z stderr F {inner}"
    for text in (docker, cri):
        event = known(text)
        assert (event.program, event.log_time, event.library) == (
            "app",
            "2026-11-22T08:00:00.5Z",
            "libx.so.1",
        )


@given(st.text(max_size=300))
def test_no_text_breaks_the_parser(text: str) -> None:
    parse_line(text, AT)


@given(
    st.lists(
        st.sampled_from([*NEEDLES, "[", "]", "app[7]", "0", " ", '"', "{", "error 4", "(", "*** "]),
        max_size=40,
    ).map("".join)
)
def test_no_mixture_of_needles_breaks_the_parser(text: str) -> None:
    parse_line(text, AT)


def test_long_lines_take_no_quadratic_time() -> None:
    for part in ("a", "[", "[1]", " in x", "((", '"', "*** ", "segfault at ", "1 ", "] trap "):
        parse_line((part * 70000)[:65536] + "]: segfault at 0", AT)


PARTS = (
    "a",
    "1",
    "-:",
    ". ",
    "[1]",
    " in x[",
    "a.",
    "1:",
    "=1",
    " pid=1 ",
    "(1 ",
    "x (y) ",
    "kernel: ",
    "*** ",
)


@pytest.mark.hostile
@pytest.mark.parametrize("needle", NEEDLES)
def test_no_format_takes_quadratic_time(needle: str) -> None:
    for part in PARTS:
        long = (part * 32768)[:32768]
        for text in (long + needle + long[:50], needle + long):
            begin = time.process_time()
            parse_line(text, AT, long)
            assert time.process_time() - begin < 2, part
