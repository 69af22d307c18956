"""P005: who waits for a process that somebody keeps from running, and what merely looks like it."""

from __future__ import annotations

import os
import pty
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.halts import frozen_v1, frozen_v2, stopped, throttled, traced
from tests.support.processes import children, running, started, state, threads_in, wait_until, waiters

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.processes import Program

PROGRAM = "peer_cases.py"
CASES = {  # case: (the call in which it waits, words of the summary)
    "full_pipe": ("write", "waits to write to pipe ["),
    "empty_pipe": ("read", "waits to read from pipe ["),
    "tcp": ("recv", "recv from 127.0.0.1:"),
    "tcp_queued": ("recv", "has not accepted the connection yet"),
    "unix": ("recv", "recv from UNIX socket"),
    "unix_queued": ("recv", "has not accepted the connection yet"),
    "unix_full": ("connect", "connects to UNIX socket"),
    "child": ("wait4", "waits for its child"),
    "shared_lock": ("futex", "waits for the lock that processes share"),
    "eventfd": ("read", "waits to be woken by eventfd"),
}
CALM = {"served": "recv", "several_writers": "read"}


def begin(stack: ExitStack, python: str, case: str, call: str, directory: Path) -> Program:
    """Start a pair, and wait until the one waits for the other."""
    home = directory / case
    home.mkdir()
    program = stack.enter_context(running(python, PROGRAM, case, home))
    wait_until(lambda: threads_in(program.said["waiter"], call), f"{case} waits in {call}")
    return program


def test_every_way_to_wait_for_a_stopped_process(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pairs = {case: begin(stack, python, case, call, tmp_path) for case, (call, _) in CASES.items()}
        for program in pairs.values():
            stack.enter_context(stopped(program.said["peer"]))
        answer = diag("why", *(program.said["waiter"] for program in pairs.values()))
        assert set(answer.codes) == {"P005"}, answer
        assert len(answer.codes) == len(CASES), answer
        for case, program in pairs.items():
            found = answer.found("P005", program.said["peer"])
            assert (found["severity"], found["confidence"]) == ("critical", "certain"), found
            assert [victim["pid"] for victim in found["victims"]] == [program.said["waiter"]], found
            assert "is stopped (SIGSTOP or job control)" in found["summary"]
            assert CASES[case][1] in found["summary"]
            assert f"kill -CONT {program.said['peer']}" in found["remedy"][0]
            assert state(program.said["peer"]) == "T"


@pytest.mark.parametrize(
    ("halt", "words", "confidence"),
    [
        (frozen_v1, "is frozen by its cgroup", "certain"),
        (frozen_v2, "is frozen by its cgroup", "certain"),
        (traced, "is held in a tracing stop by pid ", "likely"),
    ],
)
def test_frozen_and_traced(
    halt: Callable[[int], AbstractContextManager[None]],
    words: str,
    confidence: str,
    python: str,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        program = begin(stack, python, "full_pipe", "write", tmp_path)
        stack.enter_context(halt(program.said["peer"]))
        answer = diag("why", program.said["waiter"])
        assert answer.codes == ["P005"], answer
        found = answer.found("P005", program.said["peer"])
        assert words in found["summary"]
        assert found["confidence"] == confidence, found
        assert found["severity"] == ("critical" if confidence == "certain" else "warning")


def test_a_chain_from_a_file_lock_to_a_stopped_reader_is_one_finding(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        program = begin(stack, python, "chain", "flock", tmp_path)
        wait_until(lambda: threads_in(program.said["middle"], "write"), "the holder writes")
        stack.enter_context(stopped(program.said["peer"]))
        answer = diag("why", program.said["waiter"])
        assert answer.codes == ["P005"], answer
        found = answer.found("P005", program.said["peer"])
        chain = [link["waiter"]["pid"] for link in found["chain"]]
        assert chain == [program.said["waiter"], program.said["middle"]], found
        # "diag locks" knows the rules about file locks only.
        locks = diag("locks", tmp_path / "chain" / "lock")
        assert locks.codes == ["L004"], locks
        assert locks.found("L004", program.said["peer"])["victims"], locks


def test_nobody_is_blamed_where_nobody_is_missed(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        pairs = {case: begin(stack, python, case, call, tmp_path) for case, call in CALM.items()}
        for program in pairs.values():
            stack.enter_context(stopped(program.said["peer"]))
        answer = diag("why", *(program.said["waiter"] for program in pairs.values()))
        assert (answer.code, answer.codes) == (0, []), answer


def test_a_pipeline_stopped_at_a_terminal_gives_nothing() -> None:
    shell, terminal = pty.fork()
    if not shell:
        os.execvp("bash", ["bash", "--norc", "-i"])
    try:
        os.write(terminal, b"sleep 1000 | cat\n")
        wait_until(lambda: len(children(shell)) == 2, "the pipeline runs")
        wait_until(lambda: any(threads_in(pid, "read") for pid in children(shell)), "cat reads")
        os.killpg(os.getpgid(children(shell)[0]), signal.SIGTSTP)  # what the terminal makes of Ctrl-Z
        wait_until(lambda: [state(pid) for pid in children(shell)] == ["T", "T"], "it is stopped")
        answer = diag("why", shell, *children(shell))
        assert answer.codes == [], answer
    finally:
        for pid in (*children(shell), shell):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(shell, 0)
        os.close(terminal)


def test_a_tracer_is_no_victim_of_what_it_traces(python: str) -> None:
    script = (
        "import ctypes, os, signal, time\n"
        "child = os.fork()\n"
        "while not child: time.sleep(1000)\n"
        "ctypes.CDLL(None).ptrace(16, child, None, None)\n"
        "os.waitpid(child, 0)\n"
        "print('ready', flush=True)\n"
        "os.waitpid(child, 0x40000000)\n"
    )
    with started([python, "-c", script]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: threads_in(process.pid, "wait4"), "the tracer waits")
        answer = diag("why", process.pid)
        assert answer.codes == [], answer


def test_a_peer_whose_cpu_quota_is_used_up(python: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        program = begin(stack, python, "working", "read", tmp_path)
        waiter, peer = program.said["waiter"], program.said["peer"]
        # A peer that works is none, however long it takes.
        assert diag("why", waiter).codes == []
        stack.enter_context(throttled(peer))
        answer = diag("why", waiter)
        assert answer.codes == ["P005"], answer
        found = answer.found("P005", peer)
        assert (found["severity"], found["confidence"]) == ("warning", "likely"), found
        assert "its cgroup has used up its CPU quota, 1 of each 300 ms" in found["summary"]
        assert "CPUQuota" in found["remedy"][0]
        lock = tmp_path / "working" / "lock"
        with started(["flock", str(lock), "true"]):
            wait_until(lambda: waiters(lock), "somebody waits for its lock")
            locks = diag("locks", lock)
            assert locks.codes == ["L005"], locks
            assert "CPU quota" in locks.found("L005", peer)["summary"]
