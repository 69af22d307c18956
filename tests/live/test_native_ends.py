"""Locks of the C library that nobody can release any more: T004, T010, T011, T012 without Python."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.processes import PROGRAMS, running, threads_in, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

SOURCE = PROGRAMS / "native_ends.c"
CASES = [
    ("ended_thread", "T012", "certain", 1),
    ("nested_monitor", "T010", "likely", 1),
    ("reader_and_writer", "T010", "likely", 1),
    ("upgrade", "T010", "likely", 0),
    ("shared_dead", "T004", "certain", 0),
    ("shared_ring", "T011", "certain", 1),
    ("places_lost", "T010", "likely", 0),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary: Path = tmp_path_factory.mktemp("native") / "native_ends"
    command = [need_tool("gcc"), "-O1", "-pthread", "-o", str(binary), str(SOURCE)]
    subprocess.run(command, check=True, timeout=60)
    return binary


@pytest.mark.parametrize(("case", "code", "confidence", "victims"), CASES)
def test_nobody_can_release_it(program: Path, case: str, code: str, confidence: str, victims: int) -> None:
    with running([str(program)], SOURCE.name, case) as child:
        wait_until(lambda: child.pid in threads_in(child.pid, "futex"), "it waits")
        answer = diag("why", child.pid)
        assert answer.codes == [code], answer
        found = answer.found(code)
        assert (found["confidence"], len(found["victims"])) == (confidence, victims), answer
        assert found["culprit"]["pid"] in (child.pid, child.said.get("child"))


@pytest.mark.parametrize("case", ["shared_works", "idle", "reader_works", "told_by_signal"])
def test_look_alikes_give_nothing(program: Path, case: str) -> None:
    with running([str(program)], SOURCE.name, case) as child:
        wait_until(lambda: child.pid in threads_in(child.pid, "futex"), "it waits")
        answer = diag("why", child.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
