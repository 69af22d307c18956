"""T001 and its family post-mortem: a core of a process that hangs gives what the living process gives."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.cores import gcore
from tests.support.interpreters import interpreter, on_pythons
from tests.support.processes import PROGRAMS, running, started, threads_in, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "thread_cases.py"
pytestmark = pytest.mark.live


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A place for cores, which are large."""
    yield tmp_path
    for core in tmp_path.glob("core.*"):
        core.unlink()


def core_of(directory: Path, python: str, program: str, case: str, threads: int) -> tuple[Path, int]:
    """Take a core of a case once so many of its threads sleep in a futex."""
    with running(python, program, case) as program_run:
        pid = program_run.said.get("child", program_run.pid)
        wait_until(lambda: len(threads_in(pid, "futex")) >= threads, f"{threads} threads in a futex")
        return gcore(pid, directory), pid


@on_pythons()
def test_two_locks_in_opposite_order(python: str, directory: Path) -> None:
    core, pid = core_of(directory, python, PROGRAM, "abba_with", 2)
    answer = diag("core", core)
    assert (answer.code, answer.codes) == (3, ["T001"]), answer
    found = answer.found("T001", pid)
    assert found["confidence"] == "certain"
    assert len(found["chain"]) == 2
    assert "thread_cases.py:34" in found["summary"]
    assert not any("py-spy" in item["source"] or "/proc" in item["source"] for item in found["evidence"])
    assert answer.json["core"]["signal"]["words"] == "taken of the living process (gcore)"
    assert {thread["thread"] for thread in answer.json["core"]["threads"]} == {
        "MainThread",
        "one-two",
        "two-one",
    }


@on_pythons("2.7", "3.12")
@pytest.mark.parametrize(
    ("case", "threads", "code"),
    [
        ("abba_globals", 2, "T001"),
        ("ring3", 3, "T001"),
        ("reentry_queue", 1, "T002"),
        ("reentry_finalizer", 1, "T002"),
    ],
)
def test_other_deadlocks(python: str, directory: Path, case: str, threads: int, code: str) -> None:
    core, pid = core_of(directory, python, PROGRAM, case, threads)
    answer = diag("core", core)
    assert answer.codes == [code], answer
    assert answer.found(code, pid)["confidence"] == "certain"


@on_pythons("3.6", "3.12")
@pytest.mark.parametrize(
    ("case", "threads", "code"),
    [
        ("fork_custom", 1, "T003"),  # the lock was copied locked by fork
        ("pool_exhausted", 3, "T005"),
        ("import_deadlock", 2, "T008"),
        ("lost_event", 1, None),
        ("pool_waiting", 1, None),
    ],
)
def test_other_ways_to_hang(python: str, directory: Path, case: str, threads: int, code: str | None) -> None:
    core, pid = core_of(directory, python, "stuck_cases.py", case, threads)
    answer = diag("core", core)
    assert answer.codes == ([code] if code else []), answer
    if code == "T003":
        words = " ".join(item["text"] for item in answer.found(code, pid)["evidence"])
        assert "its main thread's stack shows the fork" in words


@on_pythons("3.7", "3.13")
@pytest.mark.parametrize(("case", "code"), [("abba", "T009"), ("lock_and_join", "T009"), ("timed", None)])
def test_tasks_of_an_event_loop(python: str, directory: Path, case: str, code: str | None) -> None:
    with running(python, "task_cases.py", case) as program:
        wait_until(lambda: diag("why", program.pid).codes == ([code] if code else []), f"{case} shows alive")
        core = gcore(program.pid, directory)
    answer = diag("core", core)
    assert answer.codes == ([code] if code else []), answer
    if code:
        found = answer.found(code, program.pid)
        assert "task_cases.py" in found["summary"]
        assert not any("/proc" in item["source"] for item in found["evidence"])


@on_pythons("2.7", "3.13")
@pytest.mark.parametrize(("case", "threads"), [("consumers", 7), ("slow_holder", 3), ("handed_over", 1)])
def test_healthy_threads_give_nothing(python: str, directory: Path, case: str, threads: int) -> None:
    core, _ = core_of(directory, python, PROGRAM, case, threads)
    answer = diag("core", core)
    assert (answer.code, answer.codes, answer.json["verdict"]) == (0, [], "clear"), answer
    assert "file locks" in answer.json["gaps"][0]["hides"]


def test_a_recording_of_it_says_the_same_and_does_not_hold_the_core(python: str, directory: Path) -> None:
    core, _ = core_of(directory, python, PROGRAM, "abba_with", 2)
    tape = directory / "tape"
    recorded = diag("record", "-o", tape, "--", "core", core, "--format", "json", form="terminal")
    assert recorded.codes == ["T001"], recorded
    core.unlink()
    assert diag("core", core, "--replay", tape).stdout == recorded.stdout
    assert tape.stat().st_size < 4 << 20


def test_mapped_files_that_are_gone_are_said(python: str, directory: Path) -> None:
    core, _ = core_of(directory, python, PROGRAM, "abba_with", 2)
    (empty := directory / "root").mkdir()
    answer = diag("core", core, "--root", empty)
    assert {library["now"] for library in answer.json["core"]["libraries"]} == {"missing"}
    assert answer.code in (3, 4), answer
    assert any("--root DIR" in gap["hint"] for gap in answer.json["gaps"]) or answer.codes == ["T001"], answer


def test_a_core_that_is_cut_short_is_a_gap_not_a_crash(python: str, directory: Path) -> None:
    core, _ = core_of(directory, python, PROGRAM, "abba_with", 2)
    size = core.stat().st_size
    with open(core, "r+b") as file:
        file.truncate(size // 3)
    answer = diag("core", core)
    assert answer.code in (3, 4)
    assert not answer.json["core"]["complete"]
    assert any("cut short" in gap["reason"] for gap in answer.json["gaps"])
    with open(core, "r+b") as file:
        file.truncate(40)
    answer = diag("core", core)
    assert answer.code == 1
    assert "cut short" in answer.stderr


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x7fELF", b"\x7fELF" + b"\xff" * 200])
def test_what_is_no_core_is_said_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "core"
    path.write_bytes(content)
    answer = diag("core", path)
    assert answer.code == 1
    assert "hint:" in answer.stderr
    assert diag("core", tmp_path / "none").code == 1
    assert "not a core file: it is a program" in diag("core", "/bin/true").stderr


def test_pthread_mutexes_in_opposite_order(directory: Path) -> None:
    """A program without Python: the mutexes themselves name their owners."""
    program = directory / "native_locks"
    source = str(PROGRAMS / "native_locks.c")
    subprocess.run([need_tool("gcc"), "-pthread", "-o", program, source], check=True)
    with running([str(program)], "native_locks.c", "abba") as mutexes:
        wait_until(lambda: len(threads_in(mutexes.pid, "futex")) >= 2, "two threads in a futex")
        core = gcore(mutexes.pid, directory)
    answer = diag("core", core)
    assert answer.codes == ["T001"], answer
    assert answer.found("T001", mutexes.pid)["confidence"] == "certain"


@on_pythons("2.7", "3.12")
def test_who_holds_a_file_lock_no_core_tells(python: str, directory: Path) -> None:
    """But which file it is, the object that has it open says, and that the process has it open twice."""
    lock = directory / "lock"
    code = (
        "import fcntl, sys\n"
        "first, second = open(sys.argv[1], 'w'), open(sys.argv[1], 'w')\n"
        "fcntl.flock(first, fcntl.LOCK_EX)\nsys.stdout.write('ready\\n'); sys.stdout.flush()\n"
        "fcntl.flock(second, fcntl.LOCK_EX)\n"
    )
    with started([python, "-c", code, str(lock)]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: bool(threads_in(process.pid, "flock")), "it waits for its own lock")
        core = gcore(process.pid, directory)
    answer = diag("core", core)
    assert (answer.code, answer.codes, answer.json["verdict"]) == (4, [], "blind"), answer
    gap = next(gap for gap in answer.json["gaps"] if str(lock) in gap["hides"])
    assert "has the same file open" in gap["reason"]
    assert gap["hint"].endswith(f"diag locks {lock}")
    (thread,) = answer.json["core"]["threads"]
    assert f"flock on {lock}" in thread["waits_for"]["words"]


def test_what_only_counts_when_it_lasts_is_not_told_by_one_moment(directory: Path) -> None:
    """T006 and T007 are blind where a callback blocks, and where the GIL is kept in a system call."""
    code = (
        "import asyncio, ctypes, threading, time\n"
        "async def main():\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "    print('ready', flush=True)\n"
        "    ctypes.PyDLL(None).pause()\n"
        "asyncio.run(main())\n"
    )
    with started([interpreter("3.12"), "-c", code]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: bool(threads_in(process.pid, "pause")), "it pauses")
        core = gcore(process.pid, directory)
    answer = diag("core", core)
    assert (answer.code, answer.codes, answer.json["verdict"]) == (4, [], "blind"), answer
    hides = " ".join(gap["hides"] for gap in answer.json["gaps"])
    assert "kept the interpreter lock (GIL) for long" in hides
    assert "held up its event loop (asyncio) for long" in hides
