"""T009 for trio: its tasks, the locks they wait for and the nurseries that wait for them."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages
from tests.support.processes import running

pytestmark = pytest.mark.live

PROGRAM = "trio_cases.py"
TRIO = "trio==0.31.0"


@on_pythons("3.12")
@pytest.mark.parametrize(
    ("case", "hops", "function"), [("abba", 2, "transfer"), ("nursery_inside", 2, "wants")]
)
def test_tasks_that_wait_for_each_other(python: str, case: str, hops: int, function: str) -> None:
    with running(python, PROGRAM, case, path=packages(python, TRIO)) as program:
        answer = diag("why", program.pid)
        assert answer.codes == ["T009"], answer
        found = answer.found("T009", program.pid)
        assert (len(found["chain"]), found["confidence"]) == (hops, "certain")
        places = {link["waiter"]["where"]["function"] for link in found["chain"]}
        assert function in places
        assert all(link["waiter"]["where"]["file"].endswith(PROGRAM) for link in found["chain"])


@on_pythons("3.12")
@pytest.mark.parametrize("case", ["timed", "turns", "slow_holder", "serving"])
def test_healthy_tasks_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case, path=packages(python, TRIO)) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
