"""Which pseudo-terminal a master stands for, on captured text (6.18)."""

from __future__ import annotations

from diag.collectors.terminals import parse_number

MASTER = "pos:\t0\nflags:\t02100002\nmnt_id:\t24\nino:\t91\ntty-index:\t7\n"


def test_the_number_of_a_master() -> None:
    assert parse_number(MASTER) == 7
    assert parse_number("pos:\t0\nflags:\t02000002\nmnt_id:\t29\nino:\t3\n") is None
    assert parse_number("tty-index:\tx\n") is None
