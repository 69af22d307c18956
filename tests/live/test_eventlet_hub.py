"""T006 for eventlet: a green thread that makes a blocking call."""

from __future__ import annotations

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages
from tests.support.processes import running, wait_for_call

pytestmark = pytest.mark.live

PYTHONS = ("3.8", "3.12")


@on_pythons(*PYTHONS)
def test_a_blocking_call_in_a_green_thread(python: str) -> None:
    path = packages(python, "eventlet==0.36.1")
    with running(python, "eventlet_cases.py", "blocks", path=path) as program:
        wait_for_call(program.pid, "sleep")
        answer = diag("why", program.pid)
        found = answer.found("T006", program.pid)
        assert "eventlet" in found["summary"]
        assert found["culprit"]["where"]["function"] == "blocks"
    with running(python, "eventlet_cases.py", "waits", path=path) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
