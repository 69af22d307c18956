"""Locks by existence whose path no variable of a frame names: asked for by path, and from who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import diag_locks, pids
from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import running, wait_for_call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

PROGRAM = "existence.py"


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize("way", ["global", "attribute", "literal"])
def test_the_owner_lives_and_then_is_dead(python: str, way: str, tmp_path: Path) -> None:
    path = tmp_path / "literal.pid"
    with running(python, PROGRAM, way, "wait", path) as waiter:  # it makes the file: there is none yet
        wait_for_call(waiter.pid, "sleep")
        assert diag("why", waiter.pid).codes == []
        with running(python, PROGRAM, way, "wait", path) as newcomer:
            wait_for_call(newcomer.pid, "sleep")
            asked = diag_locks(path)
            [lock] = asked.json["locks"]
            assert pids(lock["holders"]) == {waiter.pid}, asked
            assert pids(lock["waiters"]) == {newcomer.pid}, asked
            assert lock["waiters"][0]["how"] == "polling"
            found = diag("why", newcomer.pid).found("L006", waiter.pid)
            assert found["confidence"] == "likely"
            assert found["resource"]["path"] == str(path)

            waiter.process.kill()
            waiter.process.wait()
            for answer in (diag("why", newcomer.pid), diag_locks(path)):
                stale = answer.found("L008")
                assert pids(stale["victims"]) == {newcomer.pid}, answer
                assert (stale["severity"], stale["confidence"]) == ("critical", "certain"), answer


def test_a_file_that_is_waited_for_until_it_appears_is_no_lock(python: str, tmp_path: Path) -> None:
    """The other way round: whoever goes on only when the file is there waits for no owner."""
    path = tmp_path / "service.pid"
    path.write_text("999999999\n", encoding="ascii")
    text = (
        "import os, sys, time\n"
        "READY = sys.argv[1]\n"
        "print('ready'); sys.stdout.flush()\n"
        "while True:\n"
        "    try:\n        open(READY + '.done').close(); break\n"
        "    except (IOError, OSError):\n        time.sleep(0.2)\n"
    )
    program = tmp_path / "appears.py"
    program.write_text(text, encoding="ascii")
    with running(python, str(program), path) as waiter:
        wait_for_call(waiter.pid, "sleep")
        answer = diag("why", waiter.pid)
        assert (answer.code, answer.codes) == (0, []), answer
