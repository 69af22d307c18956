"""T003, T005 to T007, native locks, and what looks like them: real processes, seen from outside."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons
from tests.support.processes import PROGRAMS, children, running, threads_in, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "stuck_cases.py"


def asleep(pid: int, call: str, count: int = 1) -> None:
    wait_until(lambda: len(threads_in(pid, call)) >= count, f"{count} x {call} in {pid}")


@on_pythons("2.7", "3.6", "3.9", "3.12", "3.13")
@pytest.mark.parametrize("case", ["fork_custom", "fork_threaded", "fork_rlock"])
def test_a_lock_that_fork_copied_locked(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        child = program.said["child"]
        asleep(child, "futex")
        answer = diag("why", child)
        assert answer.codes == ["T003"], answer
        found = answer.found("T003", child)
        assert f"pid {program.pid} forked" in found["summary"]
        # The parent waits for its child: the same cause, seen from there.
        assert diag("why", program.pid).found("T003", child)["victims"][0]["pid"] == program.pid


@on_pythons("2.7", "3.6")
def test_loggings_lock_after_a_fork(python: str) -> None:
    with running(python, PROGRAM, "fork_logging") as program:
        child = program.said["child"]
        asleep(child, "futex")
        answer = diag("why", child)
        assert answer.codes == ["T003"], answer


@on_pythons("3.6", "3.9", "3.13")
@pytest.mark.parametrize(("case", "workers"), [("pool_exhausted", 3), ("pool_single", 1)])
def test_a_pool_that_waits_for_itself(python: str, case: str, workers: int) -> None:
    with running(python, PROGRAM, case) as program:
        asleep(program.pid, "futex", workers + 1)
        answer = diag("why", program.pid)
        assert answer.codes == ["T005"], answer
        found = answer.found("T005", program.pid)
        assert found["confidence"] == "certain"
        assert len(found["victims"]) == workers  # the other workers, and the main thread


@on_pythons("3.6", "3.10", "3.13")
@pytest.mark.parametrize(
    ("case", "call", "severity"),
    [
        ("loop_sleep", "sleep", "warning"),
        ("loop_flock", "flock", "critical"),
        ("loop_lock", "futex", "critical"),
    ],
)
def test_a_blocking_call_in_an_event_loop(
    python: str, case: str, call: str, severity: str, tmp_path: Path
) -> None:
    with running(python, PROGRAM, case, tmp_path / "file") as program:
        wait_until(lambda: program.pid in threads_in(program.pid, call), call)
        answer = diag("why", program.pid)
        found = answer.found("T006", program.pid)
        assert found["severity"] == severity, answer
        assert found["culprit"]["where"]["function"].rpartition(".")[2] in ("main", "callback", "use_cache")
        assert set(answer.codes) <= {"T006", "L001"}


@on_pythons("2.7", "3.6", "3.13")
def test_the_gil_held_in_a_read(python: str) -> None:
    with running(python, PROGRAM, "gil_read") as program:
        wait_until(lambda: program.pid in threads_in(program.pid, "read"), "read")
        asleep(program.pid, "futex", 2)
        answer = diag("why", program.pid)
        found = answer.found("T007", program.pid)
        assert found["culprit"]["tid"] == program.pid
        assert len(found["victims"]) == 2, answer
        assert answer.codes == ["T007"]


@on_pythons("2.7", "3.6", "3.13")
@pytest.mark.parametrize("case", ["fork_fine", "fork_gate", "gil_released"])
def test_healthy_look_alikes_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        child = wait_until(lambda: children(program.pid), "a child")[0]
        wait_until(lambda: threads_in(child, "futex") or threads_in(child, "sleep"), "the child is asleep")
        answer = diag("why", program.pid, child)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


@on_pythons("3.6", "3.13")
@pytest.mark.parametrize("case", ["loop_idle", "loop_busy", "pool_waiting", "gate_of_one_thread"])
def test_healthy_loops_and_pools_give_nothing(python: str, case: str) -> None:
    with running(python, PROGRAM, case) as program:
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes) == (0, []), answer
        # What the tasks of a loop wait for is not looked at yet, and that is said.
        assert {gap["source"] for gap in answer.json["gaps"]} <= {"asyncio"}, answer


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile the C program."""
    need_tool("gcc")
    path = tmp_path_factory.mktemp("native") / "native_locks"
    source = PROGRAMS / "native_locks.c"
    subprocess.run([str(shutil.which("gcc")), "-pthread", "-o", str(path), str(source)], check=True)
    return str(path)


def test_mutexes_of_a_c_program_in_opposite_order(native: str) -> None:
    with running(native, "native_locks.c", "abba") as program:
        asleep(program.pid, "futex", 3)
        answer = diag("why", program.pid)
        found = answer.found("T001", program.pid)
        assert found["confidence"] == "certain"
        assert len(found["chain"]) == 2
        assert [victim["tid"] for victim in found["victims"]][-1] == program.pid, "main waits in pthread_join"


def test_a_mutex_of_a_c_program_that_fork_copied(native: str) -> None:
    with running(native, "native_locks.c", "fork") as program:
        child = program.said["child"]
        asleep(child, "futex")
        found = diag("why", program.pid).found("T003", child)
        assert found["confidence"] == "certain"


def test_a_mutex_whose_holder_works(native: str) -> None:
    with running(native, "native_locks.c", "held") as program:
        asleep(program.pid, "futex")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


@on_pythons("2.7", "3.6", "3.9", "3.12", "3.13")
def test_a_module_that_waits_for_a_thread_that_imports_it(python: str) -> None:
    with running(python, PROGRAM, "import_deadlock") as program:
        # 2.7 waits for a thread with a lock, too.
        asleep(program.pid, "futex", 2)
        answer = diag("why", program.pid)
        assert answer.codes == ["T008"], answer
        found = answer.found("T008", program.pid)
        assert found["culprit"]["tid"] == program.pid
        assert found["culprit"]["where"]["file"].endswith("plugin.py")
        assert len(found["chain"]) == 2


SHARED = "shared_cases.py"


@on_pythons("2.7", "3.6", "3.9", "3.13")
def test_the_owner_of_a_shared_lock_was_killed(python: str) -> None:
    with running(python, SHARED, "killed_holder") as program:
        waiter = program.said["waiter"]
        asleep(waiter, "futex")
        found = diag("why", program.pid).found("T004", waiter)
        assert found["confidence"] == "certain"
        assert [victim["pid"] for victim in found["victims"]] == [program.pid]


@on_pythons("2.7", "3.6", "3.13")
def test_the_owner_of_a_shared_lock_works(python: str) -> None:
    with running(python, SHARED, "living_holder") as program:
        asleep(program.said["waiter"], "futex")
        answer = diag("why", program.pid)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer
        waits = answer.json["why"]["chains"][0]["links"]
        assert waits[-1]["held_by"][0]["pid"] == program.said["holder"]


@on_pythons("3.6", "3.13")
@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("barrier", "waits for others to come to a barrier that processes share"),
        ("unfinished", "waits for all work of a queue that processes share to be done"),
    ],
)
def test_what_processes_wait_for_together_is_named(python: str, case: str, what: str) -> None:
    with running(python, SHARED, case) as program:
        asleep(program.pid, "futex")
        assert what in " ".join(diag("stacks", program.pid, form="terminal").stdout.split())


@on_pythons("3.6", "3.13")
def test_an_idle_pool_and_one_whose_reader_was_killed(python: str) -> None:
    with running(python, SHARED, "idle_pool") as program:
        workers = wait_until(lambda: children(program.pid), "workers")
        wait_until(lambda: any(threads_in(worker, "futex") for worker in workers), "a worker waits")
        answer = diag("why", program.pid, *workers)
        assert (answer.code, answer.codes) == (0, []), answer
    with running(python, SHARED, "pool_without_reader") as program:
        wait_until(lambda: len(waiting(children(program.pid))) == 3, "three workers wait")
        answer = diag("why", *children(program.pid))
        assert answer.codes == ["T004"], answer


def waiting(pids: list[int]) -> list[int]:
    return [pid for pid in pids if threads_in(pid, "futex")]
