"""Which system calls make ``diag scan`` look closely at a thread."""

from __future__ import annotations

import pytest

from diag.investigate.scan import suspicion
from diag.model.facts import Syscall

ENDLESS, SECOND = 0xFFFFFFFF, 1000


@pytest.mark.parametrize(
    ("call", "arguments", "rank"),
    [
        ("flock", (3, 2), 0),
        ("semtimedop", (0, 1, 1, 0), 0),
        ("recvfrom", (3, 0, 0, 0, 0, 0), 2),
        ("poll", (0x7FFC, 1, ENDLESS), 2),
        ("ppoll", (0x7FFC, 1, 0), 2),
        ("poll", (0x7FFC, 1, SECOND), 3),
        ("poll", (0x7FFC, 5, ENDLESS), 3),
        ("ppoll", (0x7FFC, 1, 0x7FFD), 3),
        ("clock_nanosleep", (1, 0, 0, 0), None),
    ],
)
def test_how_suspicious_a_call_is(call: str, arguments: tuple[int, ...], rank: int | None) -> None:
    assert suspicion(Syscall(number=1, name=call, arguments=arguments)) == rank
