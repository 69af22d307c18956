"""What /proc tells of a thread, on captured text (6.18)."""

from __future__ import annotations

from diag.collectors.threads import parse_last_ran, parse_syscall

SCHED = """\
flock (15736, #threads: 1)
-------------------------------------------------------------------
se.exec_start                                :       1115167.846432
se.vruntime                                  :        785049.364934
nr_switches                                  :                    1
"""


def test_when_a_thread_ran_last() -> None:
    assert parse_last_ran(SCHED) == 1115.167846432
    assert parse_last_ran("") is None


def test_a_thread_moved_in_its_sleep_does_not_tell_when_it_ran() -> None:
    assert parse_last_ran(SCHED.replace("1115167.846432", "0.000000")) is None


def test_the_system_call_of_a_thread() -> None:
    call = parse_syscall("73 0x3 0x2 0x0 0x1b6 0x7ffc878d3630 0x0 0x7ffc878d3588 0x7f7a3c0b3a17\n", "x86_64")
    assert call is not None
    assert (call.name, call.arguments[:2]) == ("flock", (3, 2))
    assert parse_syscall("running\n", "x86_64") is None
    outside = parse_syscall("-1 0x7ffc878d3588 0x7f7a3c0b3a17\n", "x86_64")
    assert outside is not None
    assert outside.arguments == ()
