"""T006 for asyncio: a coroutine that blocks, in the loop of the standard library and in uvloop's."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages
from tests.support.processes import running, wait_for_call

pytestmark = pytest.mark.live

CASES = [("sleeps", "sleep"), ("flocks", "flock"), ("requests", "recv")]


def check(python: str, case: str, call: str, *loop: str) -> None:
    path = packages(python, "uvloop==0.21.0") if loop else None
    with running(python, "blocking_cases.py", case, *loop, path=path) as program:
        wait_for_call(program.pid, call)
        answer = diag("why", program.pid)
        found = answer.found("T006", program.pid)
        assert found["confidence"] == "certain"
        assert found["culprit"]["where"]["function"] == case
        assert set(answer.codes) <= {"T006", "L005", "L006"}, answer


@on_pythons("3.7", "3.9", "3.13")
@pytest.mark.parametrize(("case", "call"), CASES)
def test_a_blocking_call_in_a_coroutine(python: str, case: str, call: str) -> None:
    check(python, case, call)


@on_pythons("3.13")
@pytest.mark.parametrize(("case", "call"), CASES)
def test_a_blocking_call_in_uvloop(python: str, case: str, call: str) -> None:
    check(python, case, call, "uvloop")
