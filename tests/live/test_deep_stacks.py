"""Stacks of more frames than py-spy reads: they are read from the memory of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import diag_locks
from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import running, wait_for_call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

FRAMES = 6000
"""More than the 4,096 of py-spy 0.4."""


@on_pythons()
def test_a_self_deadlock_at_the_end_of_a_recursion(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, "deep_stack.py", "locked", path, FRAMES) as program:
        wait_for_call(program.pid, "flock")
        answer = diag_locks(path)
        finding = answer.found("L001", program.pid)
        assert finding["confidence"] == "certain", answer
        [holder] = [item for lock in answer.json["locks"] for item in lock["holders"]]
        [waiter] = [item for lock in answer.json["locks"] for item in lock["waiters"]]
        assert holder["where"]["function"] == "main", answer
        assert waiter["where"]["function"] == "locked", answer
        assert any("read from its memory instead" in gap["hides"] for gap in answer.json["gaps"]), answer


def test_the_ends_of_the_stack_are_shown_and_its_middle_is_left_out(python: str, tmp_path: Path) -> None:
    with running(python, "deep_stack.py", "idle", tmp_path / "app.lock", FRAMES) as program:
        wait_for_call(program.pid, "sleep")
        answer = diag("stacks", program.pid)
        assert answer.code == 0, answer
        deep = next(stack for stack in answer.json["stacks"] if stack["thread"] == "deep")
        functions = [frame["function"] for frame in deep["frames"]]
        assert functions[0] == "idle"
        assert "main" in functions
        [left_out] = [name for name in functions if name.endswith("frames left out)")]
        assert len(functions) - 1 + int(left_out.strip("()").split()[0].replace(",", "")) > FRAMES
        assert diag_locks(tmp_path / "app.lock").code == 0
