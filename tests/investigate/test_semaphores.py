"""Which of several operations of one semop(2) keeps a thread waiting: all are done at once, or none."""

from __future__ import annotations

import pytest

from diag.investigate.semaphores import blocking
from diag.model.io import Semop, SysvSemaphore, SysvSet


def has(*values: int) -> SysvSet:
    found = tuple(
        SysvSemaphore(number=number, value=value, last_pid=9, waiting=1)
        for number, value in enumerate(values)
    )
    return SysvSet(semid=1, key=0, size=len(values), changed=0.0, semaphores=found)


@pytest.mark.parametrize(
    ("operations", "values", "number"),
    [
        ([(0, -1)], (0,), 0),
        ([(0, -1)], (1,), None),
        ([(0, 1), (1, -1)], (0, 0), 1),
        ([(0, 1), (0, -1)], (0,), None),  # it gives first what it takes then
        ([(0, -1), (0, -1)], (1,), 0),
        ([(0, 0)], (2,), 0),
        ([(0, 0)], (0,), None),
        ([(5, -1)], (0,), None),  # more than was looked at
    ],
)
def test_the_operation_that_can_not_be_done(
    operations: list[tuple[int, int]], values: tuple[int, ...], number: int | None
) -> None:
    found = blocking([Semop(number=which, change=change) for which, change in operations], has(*values))
    assert (found[1].number if found else None) == number
