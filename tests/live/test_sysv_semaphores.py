"""SysV semaphores in an ipc namespace of their own: who took them last, and whether that one lives."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag, diag_as_nobody
from tests.support.halts import stopped
from tests.support.processes import PROGRAMS, running
from tests.support.require import need_root, need_tool

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.processes import Program


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("sysv") / "sysv"
    subprocess.run([need_tool("gcc"), "-O1", "-w", "-o", path, PROGRAMS / "sysv.c"], check=True, timeout=60)
    return path


def semaphores(binary: Path, case: str) -> AbstractContextManager[Program]:
    """Run a case; its set is gone with its namespace."""
    need_root()
    return running((need_tool("unshare", "util-linux"), "--ipc"), str(binary), case)


def test_an_owner_that_has_ended(binary: Path, tmp_path: Path) -> None:
    with semaphores(binary, "dead") as program:
        waiter = program.said["waiter"]
        tape = tmp_path / "tape"
        recorded = diag("record", "-o", tape, "--", "why", waiter, "--format", "json", form="terminal")
        answer = diag("why", waiter, "--replay", tape)
        assert answer.stdout == recorded.stdout
        found = answer.found("T004", program.said["peer"])
        assert answer.codes == ["T004"], answer
        assert (found["severity"], found["confidence"]) == ("critical", "likely")
        assert [victim["pid"] for victim in found["victims"]] == [waiter]
        assert found["resource"]["name"].startswith("SysV semaphore 1 of set ")
        assert "SEM_UNDO" in " ".join(found["remedy"])
        assert found["against"], found
        hidden = diag_as_nobody("why", waiter)
        assert (hidden.code, hidden.json["verdict"]) == (4, "blind"), hidden


def test_an_owner_that_is_stopped(binary: Path) -> None:
    with semaphores(binary, "lives") as program, stopped(program.said["peer"]):
        answer = diag("why", program.said["waiter"])
        assert answer.codes == ["P005"], answer
        assert answer.found("P005", program.said["peer"])["confidence"] == "likely"


@pytest.mark.parametrize("case", ["lives", "undone", "work", "zero"])
def test_healthy_semaphores_give_nothing(binary: Path, case: str) -> None:
    with semaphores(binary, case) as program:
        waiter = program.said["waiter"]
        answer = diag("why", waiter)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
        assert "SysV semaphore 1 of set" in diag("stacks", waiter).stdout
