"""T009 and T006 for gevent: greenlets that wait for each other, and one that blocks its hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages, version_of
from tests.support.processes import PROGRAMS, Program, running, wait_for_call

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.live

PROGRAM = "gevent_cases.py"
LINES = (PROGRAMS / PROGRAM).read_text(encoding="utf-8").splitlines()
PINS = {"2.7": ("gevent==1.4.0", "greenlet==0.4.17"), "3.8": ("gevent==24.2.1",)}
PINS |= {"3.12": ("gevent==24.11.1",), "3.13": ("gevent==25.9.1",)}


def line(text: str) -> int:
    return next(number for number, content in enumerate(LINES, 1) if text in content)


def case(python: str, name: str) -> AbstractContextManager[Program]:
    return running(python, PROGRAM, name, path=packages(python, *PINS[version_of(python)]))


@on_pythons(*PINS)
def test_two_locks_in_opposite_order(python: str) -> None:
    with case(python, "abba") as program:
        found = only(program, "T009")
        assert found["confidence"] == "certain"
        assert found["culprit"]["where"]["line"] == line("with other.mutex:")
        assert f"taken at {PROGRAM}:{line('with mine.mutex:')}" in found["summary"]
        assert len({link["waiter"]["task"] for link in found["chain"]}) == 2
        assert len(found["victims"]) == 2, "the other greenlet, and the main one that joins both"


@on_pythons("2.7", "3.12")
@pytest.mark.parametrize(
    ("name", "hops", "confidence"),
    [
        ("ring", 3, "likely"),
        ("patched", 2, "certain"),
        ("reentry", 1, "certain"),
        ("join_each_other", 2, "certain"),
    ],
)
def test_other_rings_of_greenlets(python: str, name: str, hops: int, confidence: str) -> None:
    with case(python, name) as program:
        found = only(program, "T009")
        assert (len(found["chain"]), found["confidence"]) == (hops, confidence), found


@on_pythons("2.7", "3.12")
@pytest.mark.parametrize(
    ("name", "call", "function"),
    [
        ("sleeps", "sleep", "blocks"),
        ("flocks", "flock", "blocks"),
        ("receives", "recv", "blocks"),
        ("main_sleeps", "sleep", "main_sleeps"),
        ("callback_sleeps", "sleep", "blocks"),
    ],
)
def test_a_blocking_call_in_a_hub(python: str, name: str, call: str, function: str) -> None:
    with case(python, name) as program:
        wait_for_call(program.pid, call)
        answer = diag("why", program.pid)
        assert set(answer.codes) <= {"T006", "L001"}, answer
        found = answer.found("T006", program.pid)
        assert found["confidence"] == "certain"
        assert found["culprit"]["where"]["function"].endswith(function)
        assert "monkey.patch_all" in " ".join(found["remedy"])


@on_pythons("3.12")
@pytest.mark.parametrize(
    "name",
    ["fed", "serving", "naps", "contended", "timed", "limited", "slow_holder", "thread_pool", "unused"],
)
def test_healthy_greenlets_give_nothing(python: str, name: str) -> None:
    with case(python, name) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


@on_pythons("2.7", "3.8")
def test_a_time_limit_is_seen_in_every_version(python: str) -> None:
    for name in ("timed", "limited"):
        with case(python, name) as program:
            assert diag("why", program.pid).codes == []


@on_pythons("3.12")
def test_scan_finds_greenlets_that_wait_for_each_other_beside_a_ticker(python: str) -> None:
    with case(python, "abba") as stuck, case(python, "contended") as healthy:
        answer = diag("scan", timeout=120)
        assert answer.found("T009", stuck.pid)["confidence"] == "certain"
        assert not any((each["culprit"] or {}).get("pid") == healthy.pid for each in answer.json["findings"])


@on_pythons("2.7", "3.13")
def test_stacks_lists_the_greenlets(python: str) -> None:
    with case(python, "abba") as program:
        answer = diag("stacks", program.pid)
        waits = [task["waits_for"] for task in answer.json["tasks"]]
        assert len(waits) >= 4, "both, the main greenlet, and the ticker"
        assert sum("waits for the lock" in (wait or {}).get("words", "") for wait in waits) >= 1
        assert all(task["frames"] for task in answer.json["tasks"])
        text = diag("stacks", program.pid, form="terminal").stdout
        assert f"pid {program.pid}: {len(waits)} greenlets wait for their turn" in text


@on_pythons("3.12")
def test_a_recording_says_the_same(python: str, tmp_path: object) -> None:
    with case(python, "abba") as program:
        tape = f"{tmp_path}/tape"
        recorded = diag("record", "-o", tape, "--", "why", program.pid, "--format", "json")
        assert diag("why", program.pid, "--replay", tape).stdout == recorded.stdout


def only(program: Program, code: str) -> dict[str, Any]:
    answer = diag("why", program.pid)
    assert answer.codes == [code], answer
    return answer.found(code, program.pid)
