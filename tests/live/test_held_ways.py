"""T001, whatever way the locks are held in: by key, property, context manager, wrapper, loop ..."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, version_of
from tests.support.processes import running, threads_in, wait_until

pytestmark = pytest.mark.live

PROGRAM = "held_ways.py"
WAYS = {"by_key", "by_property", "by_context_manager", "by_closure", "by_wrapper", "by_exit_stack", "by_loop"}
WAYS |= {"by_semaphore", "by_partial"}


@on_pythons("2.7", "3.6", "3.10", "3.11", "3.13")
def test_every_way_of_holding_a_lock_is_seen(python: str) -> None:
    ways = WAYS - {"by_exit_stack"} if version_of(python) == "2.7" else WAYS
    with running(python, PROGRAM) as program:
        wait_until(lambda: len(threads_in(program.pid, "futex")) == 2 * len(ways), "all wait")
        answer = diag("why", program.pid)
        assert set(answer.codes) == {"T001"}, answer
        found = {one["culprit"]["thread"]: one for one in answer.json["findings"]}
        assert set(found) == ways, answer
        assert {one["confidence"] for one in found.values()} == {"certain"}
        for name, one in found.items():
            assert [victim["thread"] for victim in one["victims"]] == [name]


@on_pythons("3.12")
def test_the_same_in_turns_gives_nothing(python: str) -> None:
    with running(python, PROGRAM, "healthy") as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
