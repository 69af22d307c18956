"""What system calls ask for: arguments as Linux 6.18 on x86-64 showed them, and the memory behind them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from diag.collectors.asked import Call, decode
from diag.collectors.syscalls import resumed
from diag.collectors.threads import parse_syscall
from diag.host import Clock

CLOCK = Clock(wall=1_700_000_000.0, boot=5000.0, monotonic=4000.0, scheduler=4000.0)
AT = 0x7F0000001000


def ask(line: str, memory: bytes = b"") -> dict[str, Any]:
    """Decode a line of /proc/PID/syscall; ``memory`` lies at ``AT``."""
    call = parse_syscall(line, "x86_64")
    assert call is not None

    def look(address: int, size: int) -> bytes:
        return memory[address - AT : address - AT + size] if AT <= address < AT + len(memory) else b""

    return decode(Call(call.name or "", call.arguments, look, CLOCK))


def time_of(seconds: float) -> bytes:
    return struct.pack("=qq", int(seconds), int(seconds % 1 * 1e9))


TAIL = "0x0 0x0 0x7ffe0 0x7f1"
SLEEPS = [
    (f"230 0x1 0x1 {AT:#x} 0x0 {TAIL}", time_of(4012.5), {"left": 12.5}),  # time.sleep since 3.11
    (f"230 0x0 0x1 {AT:#x} 0x0 {TAIL}", time_of(1_700_000_003), {"left": 3.0}),
    (f"230 0x1 0x0 {AT:#x} 0x0 {TAIL}", time_of(1000), {"limit": 1000.0}),  # sleep(1)
    (f"35 {AT:#x} 0x0 0x0 0x0 {TAIL}", time_of(7.25), {"limit": 7.25}),
    (f"35 {AT:#x} 0x0 0x0 0x0 {TAIL}", b"", {"limit": None}),  # memory that may not be read
    (f"270 0x0 0x0 0x0 0x0 {AT:#x} 0x0 0x7ffe0 0x7f1", time_of(0.05), {"limit": 0.05}),
    (f"23 0x0 0x0 0x0 0x0 {AT:#x} 0x0 0x7ffe0 0x7f1", struct.pack("=qq", 2, 500_000), {"limit": 2.5}),
]


@pytest.mark.parametrize(("line", "memory", "wanted"), SLEEPS)
def test_sleeps(line: str, memory: bytes, wanted: dict[str, Any]) -> None:
    found = ask(line, memory)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_descriptors() -> None:
    assert ask(f"0 0xe 0x7fdb 0x1 0x7f {TAIL}") == {"fds": (14,), "writes": False}
    assert ask(f"1 0x3 0x7fdb 0x1 0x7f {TAIL}") == {"fds": (3,), "writes": True}
    # A C int in a register: the upper half is whatever was there.
    assert ask(f"45 0xdeadbeef00000008 0x7f 0x1 0x0 {TAIL}")["fds"] == (8,)


def test_poll_and_epoll() -> None:
    polled = struct.pack("=ihhihh", 7, 1, 0, -1, 1, 0)
    assert ask(f"7 {AT:#x} 0x2 0x927c0 0x0 {TAIL}", polled) == {"fds": (7,), "writes": False, "limit": 600.0}
    writing = struct.pack("=ihh", 7, 4, 0)
    assert ask(f"7 {AT:#x} 0x1 0xffffffff 0x0 {TAIL}", writing) == {
        "fds": (7,),
        "writes": True,
        "limit": None,
    }
    assert ask(f"232 0xd 0x7fdb 0x3ff 0xffffffff {TAIL}") == {"fds": (13,), "limit": None}
    assert ask(f"232 0xd 0x7fdb 0x3ff 0x1388 {TAIL}")["limit"] == 5.0


def test_select_reads_the_sets_of_bits() -> None:
    sets = struct.pack("=QQ", 1 << 3 | 1 << 5, 1 << 1)
    found = ask(f"270 0x46 {AT:#x} 0x0 0x0 0x0 0x0 0x7ffe0 0x7f1", sets)
    assert found == {"fds": (3, 5, 65), "writes": False, "limit": None}


def test_futex_times() -> None:
    line = f"202 0x7f10 0x89 0x0 {AT:#x} 0x0 0xffffffff 0x7f 0x7f"
    assert ask(line, time_of(4000.005))["left"] == pytest.approx(0.005)
    real = f"202 0x7f10 0x189 0x0 {AT:#x} 0x0 0xffffffff 0x7f 0x7f"
    assert ask(real, time_of(1_700_000_009))["left"] == pytest.approx(9.0)
    relative = f"202 0x7f10 0x80 0x0 {AT:#x} 0x0 0xffffffff 0x7f 0x7f"
    assert ask(relative, time_of(2))["limit"] == pytest.approx(2.0)
    assert ask("202 0x7f10 0x189 0x0 0x0 0x0 0xffffffff 0x7f 0x7f") == {}
    assert ask(relative) == {"limit": float("inf")}  # timed, but its memory may not be read


def test_children() -> None:
    assert ask(f"61 0x53b3 0x7f 0x0 0x0 {TAIL}") == {"child": 0x53B3}
    assert ask(f"61 0xffffffffffffffff 0x7f 0x0 0x0 {TAIL}") == {"child": -1}
    assert ask(f"247 0x1 0x10 0x7f 0x4 {TAIL}") == {"child": 16}
    assert ask(f"247 0x0 0x0 0x7f 0x4 {TAIL}") == {"child": -1}
    assert ask(f"247 0x3 0x9 0x7f 0x4 {TAIL}") == {"fds": (9,)}


def test_open_reads_the_path_even_at_the_end_of_memory() -> None:
    found = ask(f"257 0xffffff9c {AT:#x} 0x80001 0x0 {TAIL}", b"/run/fifo\0rest")
    assert found == {"path": "/run/fifo", "base": None, "writes": True}
    assert ask(f"257 0xffffff9c {AT:#x} 0x0 0x0 {TAIL}", b"\xff\0")["path"] == "\U0010dcff"
    assert ask(f"257 0xffffff9c {AT:#x} 0x0 0x0 {TAIL}")["path"] is None


def test_a_path_may_begin_at_a_descriptor_or_be_one() -> None:
    assert ask(f"262 0x5 {AT:#x} 0x0 0x0 {TAIL}", b"a/b\0") == {"path": "a/b", "base": 5}
    assert ask(f"262 0x5 {AT:#x} 0x0 0x1000 {TAIL}", b"\0") == {"fds": (5,)}  # fstat, as glibc calls it
    assert ask(f"4 {AT:#x} 0x0 0x0 0x0 {TAIL}", b"/srv/x\0") == {"path": "/srv/x"}


def test_unknown_calls_and_lines_say_nothing() -> None:
    assert ask(f"999 0x1 0x2 0x3 0x4 {TAIL}") == {}
    assert ask("-1 0x7ffe0 0x7f1") == {}
    assert parse_syscall("running\n", "x86_64") is None
    assert parse_syscall("", "x86_64") is None


@pytest.mark.parametrize(
    ("wchan", "first", "name"),
    [
        ("poll_schedule_timeout.constprop.0", 0x7F37, "poll"),
        ("futex_do_wait", 0x7F37, "futex"),
        ("futex_wait_queue_me", 0x7F37, "futex"),
        ("hrtimer_nanosleep", 1, "clock_nanosleep"),
        ("hrtimer_nanosleep", 0x7F37, "nanosleep"),
        ("something_else", 1, None),
        (None, 1, None),
    ],
)
def test_what_restart_syscall_goes_on_with(wchan: str | None, first: int, name: str | None) -> None:
    assert resumed(wchan, (first, 0, 0, 0, 0, 0)) == name


def test_a_unix_address_that_is_connected_to() -> None:
    line = f"42 0x3 {AT:#x} 0x6e 0x0 {TAIL}"
    assert ask(line, b"\1\0/run/a.sock\0")["address"] == "/run/a.sock"
    assert ask(f"42 0x3 {AT:#x} 0x6 0x0 {TAIL}", b"\1\0\0abc")["address"] == "@abc"
    assert "address" not in ask(line, b"\2\0\0\x50\x7f\0\0\1")


def test_operations_on_semaphores() -> None:
    data = struct.pack("=HhhHhh", 0, 1, 0, 1, -1, 0x1000)
    found = ask(f"65 0x8000 {AT:#x} 0x2 0x0 {TAIL}", data)
    assert (found["semid"], found["limit"]) == (0x8000, None)
    assert [(one.number, one.change, one.undo) for one in found["operations"]] == [
        (0, 1, False),
        (1, -1, True),
    ]
