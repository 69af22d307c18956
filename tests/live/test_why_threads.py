"""T001, T002 and what looks like them: threads of real interpreters, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, running, started, threads_in, wait_until

if TYPE_CHECKING:
    from tests.support.processes import Program

PROGRAM = "thread_cases.py"


def in_futex(program: Program, count: int) -> None:
    """Wait until so many threads sleep in a futex, and have done so for a moment."""
    wait_until(lambda: len(threads_in(program.pid, "futex")) >= count, f"{count} threads in a futex")


def line(text: str, after: str = "") -> int:
    """Return the number of the program's first line with ``text``, from the one with ``after`` on."""
    seen = not after
    for number, content in enumerate((PROGRAMS / PROGRAM).read_text(encoding="utf-8").splitlines(), 1):
        seen = seen or after in content
        if seen and text in content:
            return number
    raise AssertionError(f"{text!r} is not in {PROGRAM}")


@on_pythons()
@pytest.mark.parametrize("case", ["abba_with", "abba_rlock"])
def test_two_locks_in_opposite_order(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        in_futex(program, 2)
        answer = diag("why", program.pid)
        assert answer.codes == ["T001"], answer
        assert answer.code == 3
        found = answer.found("T001", program.pid)
        assert found["confidence"] == "certain"
        tids = {found["culprit"]["tid"], *(victim["tid"] for victim in found["victims"])}
        assert tids == set(threads_in(program.pid, "futex"))
        assert found["culprit"]["where"]["line"] == line("with other.mutex:")
        assert len(found["chain"]) == 2
        chains = answer.json["why"]["chains"]
        assert chains
        assert all(chain["ring"] for chain in chains)
        taken = chains[0]["links"][0]["held_by"][0]["taken_at"]
        assert taken["line"] == line("with mine.mutex:")


@on_pythons("2.7", "3.6", "3.11", "3.13")
@pytest.mark.parametrize(("case", "threads"), [("abba_acquire", 2), ("abba_globals", 2), ("ring3", 3)])
def test_other_ways_into_a_ring(python: str, case: str, threads: int) -> None:
    with running(python, PROGRAM, case) as program:
        in_futex(program, threads)
        answer = diag("why", program.pid)
        assert answer.codes == ["T001"], answer
        found = answer.found("T001", program.pid)
        assert found["confidence"] == "certain"
        assert len(found["chain"]) == threads
        assert len({link["waiter"]["tid"] for link in found["chain"]}) == threads


@on_pythons("2.7", "3.6", "3.9", "3.12", "3.13")
@pytest.mark.parametrize(
    ("case", "taken", "handler"),
    [
        ("reentry_nested", line("with account.mutex:", "def pay"), ""),
        ("reentry_handler", line("    with lock:", "signal.signal("), "SIGUSR1 handler"),
        ("reentry_finalizer", line("with account.mutex:", "def drop"), "finalizer"),
        ("reentry_queue", None, "SIGUSR1 handler"),
    ],
)
def test_a_lock_taken_twice(python: str, case: str, taken: int | None, handler: str) -> None:
    with running(python, PROGRAM, case) as program:
        in_futex(program, 1)
        answer = diag("why", program.pid)
        assert answer.codes == ["T002"], answer
        found = answer.found("T002", program.pid)
        assert handler in found["summary"]
        where = answer.json["why"]["chains"][0]["links"][0]["held_by"][0]["taken_at"]
        if taken is None:
            assert where["file"].lower().endswith("/queue.py")
        else:
            assert where["line"] == taken


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize(
    ("case", "threads"),
    [
        ("contended", 1),
        ("consumers", 7),
        ("joins", 0),
        ("slow_holder", 3),
        ("handed_over", 1),
        ("handler_releases", 1),
    ],
)
def test_healthy_threads_give_nothing(python: str, case: str, threads: int) -> None:
    with running(python, PROGRAM, case) as program:
        in_futex(program, threads)
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize(("case", "threads"), [("retry_timed", 2), ("retry_pausing", 1)])
def test_two_locks_that_are_tried_for_again_and_again(python: str, case: str, threads: int) -> None:
    if "2.7" in python and case == "retry_timed":
        return  # its locks know no time limit
    with running(python, PROGRAM, case) as program:
        in_futex(program, threads)
        wait_until(lambda: diag("why", program.pid).codes == ["T001"], "T001")
        found = diag("why", program.pid).found("T001", program.pid)
        assert found["confidence"] == "likely"
        assert {link["where"]["line"] for link in found["chain"]} == {line("other.acquire(", f"def {case}")}
        assert len(found["victims"]) == (2 if case == "retry_pausing" else 1)


@on_pythons("3.6", "3.13")
@pytest.mark.parametrize("case", ["pool", "timed", "polite"])
def test_healthy_threads_of_python_3_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        in_futex(program, 2)
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


def test_a_slow_holder_is_named_at_the_end_of_the_chain(python: str) -> None:
    with running(python, PROGRAM, "slow_holder") as program:
        in_futex(program, 3)
        answer = diag("why", program.pid, form="terminal")
        assert answer.stdout.startswith("Nothing is wrong here")
        assert answer.stdout.count("held by") >= 1
        assert "sleeps" in answer.stdout


def test_a_recording_says_the_same(python: str, tmp_path: object) -> None:
    with running(python, PROGRAM, "abba_with") as program:
        in_futex(program, 2)
        tape = f"{tmp_path}/tape"
        recorded = diag("record", "-o", tape, "--", "why", program.pid, "--format", "json")
        assert diag("why", program.pid, "--replay", tape).stdout == recorded.stdout


def test_source_that_cannot_be_read_is_said(python: str) -> None:
    code = (
        "import signal, threading\nlock = threading.Lock()\nlock.acquire()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: lock.release())\n"
        "print('ready', flush=True)\nlock.acquire()\n"
    )
    with started([python, "-c", f"exec({code!r})"]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: threads_in(process.pid, "futex"), "futex")
        answer = diag("why", process.pid)
        assert (answer.code, answer.codes, answer.json["verdict"]) == (4, [], "blind"), answer
        assert "source" in answer.json["gaps"][0]["reason"]
