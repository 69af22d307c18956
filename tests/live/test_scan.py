"""diag scan: one finding a cause on the whole host, and nothing about healthy processes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.support.cli import Answer, diag, diag_as_nobody
from tests.support.processes import children, running, threads_in, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def about(answer: Answer, *pids: int) -> list[dict[str, Any]]:
    """The findings whose culprit is one of these processes: others may run tests beside us."""
    found: list[dict[str, Any]] = answer.json["findings"]
    return [one for one in found if (one["culprit"] or {}).get("pid") in pids]


def test_every_cause_once_and_nothing_about_the_healthy(python: str, tmp_path: Path) -> None:
    healthy = [
        ("thread_cases.py", "consumers"),
        ("thread_cases.py", "slow_holder"),
        ("stuck_cases.py", "pool_waiting"),
        ("stuck_cases.py", "loop_idle"),
        ("process_cases.py", "wait_for_worker"),
        ("process_cases.py", "fifo_read"),
    ]
    with ExitStack() as stack:

        def start(program: str, case: str) -> int:
            directory = tmp_path / case
            directory.mkdir()
            return stack.enter_context(running(python, program, case, directory)).pid

        ring = start("thread_cases.py", "ring3")
        pipe = start("process_cases.py", "popen_wait")
        forked = start("stuck_cases.py", "fork_custom")
        fine = [start(program, case) for program, case in healthy]
        wait_until(lambda: len(threads_in(ring, "futex")) == 3, "the ring")
        wait_until(lambda: children(pipe) and threads_in(children(pipe)[0], "write"), "the pipe")
        wait_until(lambda: children(forked) and threads_in(children(forked)[0], "futex"), "the child")
        answer = diag("scan")
        assert answer.code == 3
        assert [one["code"] for one in about(answer, ring)] == ["T001"], answer
        assert [one["code"] for one in about(answer, pipe)] == ["P001"], answer
        assert [one["code"] for one in about(answer, forked, *children(forked))] == ["T003"], answer
        assert about(answer, *fine) == [], answer
        counted = answer.json["scan"]
        assert counted["processes"] > len(fine)
        assert counted["threads"] >= counted["processes"] / 2
        assert counted["looked_at_closely"] >= 3


def test_a_recording_of_a_scan_says_the_same(python: str, tmp_path: Path) -> None:
    with running(python, "thread_cases.py", "abba_with") as program:
        wait_until(lambda: len(threads_in(program.pid, "futex")) == 2, "two threads in futex")
        tape = tmp_path / "tape"
        recorded = diag("record", "-o", tape, "--", "scan", "--format", "json")
        assert diag("scan", "--replay", tape).stdout == recorded.stdout


def test_nobody_is_told_what_could_not_be_seen(python: str) -> None:
    with running(python, "thread_cases.py", "abba_with") as program:
        wait_until(lambda: len(threads_in(program.pid, "futex")) == 2, "two threads in futex")
        answer = diag_as_nobody("scan")
        assert about(answer, program.pid) == []
        assert answer.json["gaps"], answer
        assert answer.json["verdict"] in ("blind", "fired")
