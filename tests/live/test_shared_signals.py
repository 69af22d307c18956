"""T010 for what processes share: barriers, events, semaphores, queues that none of them can serve."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import children, running, threads_in, wait_until

pytestmark = pytest.mark.live
PROGRAM = "shared_cases.py"


@on_pythons("3.6", "3.8", "3.13")
@pytest.mark.parametrize(
    ("case", "what", "victims"),
    [
        ("barrier", "a barrier that processes share", 0),
        ("missing_party", "a barrier that processes share", 2),
        ("unfinished_by_dead", "all work of a queue that processes share", 0),
        ("places_lost", "a lock or semaphore that processes share", 0),
    ],
)
def test_nobody_of_the_family_is_left_to_give_it(python: str, case: str, what: str, victims: int) -> None:
    with running(python, PROGRAM, case) as program:
        family = [program.pid, *wait_until(lambda: children(program.pid) or [program.pid], "children")]
        waiters = 2 if case == "missing_party" else 1
        wait_until(
            lambda: sum(len(threads_in(pid, "futex")) >= 1 for pid in set(family)) >= waiters, "all wait"
        )
        answer = diag("why", program.pid)
        assert answer.codes == ["T010"], answer
        found = answer.found("T010")
        assert what in found["summary"]
        assert found["confidence"] == "likely"
        assert len(found["victims"]) == victims


@on_pythons("3.6", "3.13")
@pytest.mark.parametrize("case", ["set_by_handler", "set_by_thread", "work_goes_on"])
def test_somebody_may_still_give_it(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        wait_until(
            lambda: threads_in(program.pid, "futex" if case == "work_goes_on" else "wait4"), "it waits"
        )
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
