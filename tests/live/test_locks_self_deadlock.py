"""L001: a thread waits for a file lock that its own process holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, line_of, lock_of, pids
from tests.support.interpreters import on_pythons
from tests.support.processes import running, wait_for_call

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

CASES = {
    # role: (function that took it, function that asks again, line that asks again)
    ("self-nested",): ("update", "save"),
    ("self-nested", "ofd"): ("update", "save"),
    ("self-recursive",): ("walk", "walk"),
    ("self-two-files",): ("self_two_files", "self_two_files"),
    ("self-del",): ("self_del", "__del__"),
    ("self-handler",): ("self_handler", "on_signal"),
    ("self-thread",): ("self_thread", "wait"),
}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_the_thread_is_named_with_the_line_that_took_it_and_the_line_that_waits(
    case: tuple[str, ...], python: str, tmp_path: Path
) -> None:
    took, asks = CASES[case]
    path = tmp_path / "app.lock"
    role, *kind = case
    with running(python, LOCKS, role, path, *kind) as program:
        wait_for_call(program.pid, "fcntl" if kind else "flock")
        answer = diag_locks(path)

        assert answer.code == 3, answer
        # A thread that the lock's owner joins makes a ring of two threads.
        assert answer.codes == ["L002" if role == "self-thread" else "L001"], answer
        [finding] = answer.json["findings"]
        assert finding["culprit"]["pid"] == program.pid
        assert finding["confidence"] == "certain", answer
        assert pids(finding["victims"]) <= {program.pid}, answer
        assert finding["resource"]["path"] == str(path)
        lock = lock_of(answer, path)
        assert lock["kind"] == ("ofd" if kind else "flock")
        assert pids(lock["holders"]) == {program.pid}
        assert pids(lock["waiters"]) == {program.pid}
        [waiter] = lock["waiters"]
        [holder] = lock["holders"]
        assert waiter["how"] == "blocked"
        assert asks in waiter["where"]["function"], answer
        assert took in (holder["where"] or {}).get("function", ""), answer


@on_pythons()
def test_it_is_found_under_every_interpreter(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "self-handler", path) as program:
        wait_for_call(program.pid, "flock")
        finding = diag_locks(path).found("L001", program.pid)
        assert str(line_of("os.kill(os.getpid(), signal.SIGUSR1)") - 1) in str(finding)
        assert "on_signal" in str(finding)


def test_a_lock_by_existence_is_its_maker_s_even_if_it_names_nobody(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "self-made", path) as culprit,
        running(python, LOCKS, "self-made-asks-twice", path) as victim,
    ):
        answer = diag_locks(path)
        assert answer.codes == ["L001"], answer
        finding = answer.found("L001", culprit.pid)
        assert "in a SIGUSR2 handler" in finding["summary"], answer
        assert finding["culprit"]["where"]["function"].endswith("on_signal"), answer
        assert finding["confidence"] == "likely"
        assert f"rm {path}" in finding["remedy"][0]
        assert pids(finding["victims"]) == {victim.pid}, answer
        assert pids(lock_of(answer, path)["holders"]) == {culprit.pid}


def test_others_that_wait_for_it_are_its_victims(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "self-nested", path) as culprit,
        running(python, LOCKS, "wait", path) as blocked,
        running(python, LOCKS, "poll-plain", path) as poller,
    ):
        wait_for_call(culprit.pid, "flock")
        wait_for_call(blocked.pid, "flock")
        answer = diag_locks(path)
        assert answer.codes == ["L001"], answer
        finding = answer.found("L001", culprit.pid)
        assert pids(finding["victims"]) == {blocked.pid, poller.pid}, answer
