"""The support itself: a helper that lies makes every live test lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import NOBODY, diag, diag_as_nobody, in_new_pid_namespace
from tests.support.interpreters import interpreters, newest, on_pythons
from tests.support.processes import children, running, started, state, wait_for_call, wait_until
from tests.support.require import require


@on_pythons()
def test_every_interpreter_runs_programs(python: str) -> None:
    with running(python, "idle.py", "sleep") as program:
        wait_for_call(program.pid, "sleep")
        assert state(program.pid) == "S"


def test_a_program_that_dies_early_is_an_error_that_shows_why() -> None:
    with (
        pytest.raises(AssertionError, match=r"(?s)died early.*unknown way"),
        running(interpreters()[newest()], "idle.py", "nonsense"),
    ):
        pass


def test_everything_a_program_started_is_ended_with_it() -> None:
    daemon = "setsid sleep 1000 & sleep 1000"
    with started(["sh", "-c", daemon]) as (process, _):
        family = wait_until(lambda: len(pids := children(process.pid)) == 2 and pids, "children")
        assert isinstance(family, list)
    assert not any(Path(f"/proc/{pid}").exists() and state(pid) != "Z" for pid in family)


def test_require_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such luck"):
        require(condition=False, reason="no such luck")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no such luck"):
        require(condition=False, reason="no such luck")


def test_diag_runs_as_nobody_and_in_a_pid_namespace() -> None:
    assert diag("--version", form="terminal").code == 0
    assert diag_as_nobody("--version", form="terminal").code == 0
    assert os.geteuid() != NOBODY
    inner = diag("--version", form="terminal", within=in_new_pid_namespace())
    assert inner.code == 0, inner
