"""``diag stacks`` on real processes of every interpreter, seen from outside."""

from __future__ import annotations

import os
import signal
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import diag
from tests.support.interpreters import on_pythons, version_of
from tests.support.processes import children, running, started, state, wait_for_call, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

WORDS = {  # function of tests/programs/waiting.py -> what must be said of its thread
    "flock": ("waits for flock on ", "held by its own process", "waiting.py:"),
    "sleep": ("sleeps",),
    "get": ("waits for a lock in ", "ueue", "get ("),
    "recv": ("recv from 127.0.0.1:", "this process itself"),
    "recv_timeout": ("recv from UNIX socket", "for at most 10 min"),
    "accept": ("idle: accepts on 127.0.0.1:",),
    "epoll": ("idle: epoll on 1 descriptor (listens on 127.0.0.1:",),
    "pipe": ("waits to read from pipe [",),
    "fifo": ("waits until somebody opens FIFO ", "for writing"),
    "child": ("waits for its child ", "(sleep) to end"),
    "lock": ("waits for a lock, waiting.py:", "in lock"),
}
KINDS = {
    "flock": "file-lock", "sleep": "sleep", "get": "futex", "recv": "socket", "recv_timeout": "socket",
    "accept": "socket", "epoll": "epoll", "pipe": "pipe", "fifo": "pipe", "child": "child", "lock": "futex",
}  # fmt: skip


def by_function(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each thread by the function of waiting.py that it is in."""
    found = {}
    for thread in answer["stacks"]:
        for frame in thread["frames"]:
            if frame["file"].endswith("waiting.py") and frame["function"] in WORDS:
                found[frame["function"]] = thread
    return found


def settled(pid: int) -> None:
    """Wait until the threads of waiting.py have reached their calls."""
    for call, count in (
        ("flock", 1), ("epoll_wait", 1), ("futex", 2), ("read", 1), ("openat", 1), ("wait4", 1),
        ("accept", 1), ("poll", 1), ("recv", 1), ("sleep", 1),
    ):  # fmt: skip
        wait_for_call(pid, call, count)


@on_pythons()
def test_every_wait_is_named(python: str, tmp_path: Path) -> None:
    with running(python, "waiting.py", tmp_path) as program:
        settled(program.pid)
        answer = diag("stacks", program.pid)
        assert answer.code == 0, answer
        assert answer.json["gaps"] == []
        threads = by_function(answer.json)
        assert threads.keys() == WORDS.keys(), answer
        for name, parts in WORDS.items():
            words = threads[name]["waits_for"]["words"]
            for part in parts:
                assert part in words, f"{name}: {words}"
            assert threads[name]["waits_for"]["resource"]["kind"] == KINDS[name], f"{name}: {words}"
            assert threads[name]["frames"][0]["locals"] == {}
            if version_of(python) != "2.7":  # 2.7 keeps thread names where py-spy does not look
                assert threads[name]["thread"] == name
        # A second look, after py-spy was here, says the same: no "restart_syscall".
        again = by_function(diag("stacks", program.pid, "--no-pause").json)
        for name in WORDS:
            assert again[name]["waits_for"]["resource"]["kind"] == KINDS[name], again[name]
        # No call was cut short by the stop: a 2.7 thread in epoll_wait() would have died of EINTR.
        assert program.stderr() == ""


def test_children_are_shown_unless_unwanted(python: str, tmp_path: Path) -> None:
    with running(python, "waiting.py", tmp_path) as program:
        settled(program.pid)
        with_children = {thread["pid"] for thread in diag("stacks", program.pid).json["stacks"]}
        alone = {thread["pid"] for thread in diag("stacks", program.pid, "--no-children").json["stacks"]}
        assert alone == {program.pid}
        assert len(with_children) == 2


def test_locals_are_masked_and_only_shown_when_asked_for(python: str, tmp_path: Path) -> None:
    with running(python, "waiting.py", tmp_path) as program:
        settled(program.pid)
        tape = tmp_path / "tape"
        command = ("stacks", program.pid, "--locals", "--format", "json")
        recorded = diag("record", "-o", tape, "--", *command, form="terminal")
        assert "hunter2" not in recorded.stdout + recorded.stderr
        assert '"password": "\\"***\\""' in recorded.stdout
        unpacked = zlib.decompress(tape.read_bytes().split(b"\n", 1)[1])
        assert b"hunter2" not in unpacked
        assert b"password" in unpacked
        replayed = diag("stacks", program.pid, "--locals", "--replay", tape)
        assert replayed.stdout == recorded.stdout


def test_samples_tell_who_moves(python: str, tmp_path: Path) -> None:
    with running(python, "waiting.py", tmp_path) as program, running(python, "idle.py", "busy") as busy:
        settled(program.pid)
        answer = diag("stacks", program.pid, busy.pid, "--samples", 3, "--interval", 0.2, "--no-children")
        threads = by_function(answer.json)
        assert not any(thread["moved"] for thread in threads.values())
        runs = next(thread for thread in answer.json["stacks"] if thread["pid"] == busy.pid)
        assert runs["moved"] is True
        assert runs["owns_gil"] is True
        assert runs["waits_for"]["words"].startswith("runs Python: busy (idle.py:")
        assert {thread["samples"] for thread in answer.json["stacks"]} == {3}


@pytest.mark.parametrize("way", ["sleep", "busy", "serve", "epoll", "workers", "parent"])
def test_healthy_processes_give_nothing(python: str, way: str) -> None:
    with running(python, "idle.py", way) as program:
        answer = diag("stacks", program.pid)
        assert (answer.code, answer.json["findings"], answer.json["gaps"]) == (0, [], []), answer


def test_stopped_process_is_read_without_touching_it(python: str) -> None:
    with running(python, "idle.py", "sleep") as program:
        wait_for_call(program.pid, "sleep")
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: state(program.pid) == "T", "stopped")
        answer = diag("stacks", program.pid)
        thread = answer.json["stacks"][0]
        assert thread["waits_for"]["words"].startswith("stopped by a signal")
        assert thread["frames"][0]["function"] == "sleep"
        assert state(program.pid) == "T"


def test_zombie_names_its_parent(python: str) -> None:
    script = "import os, time\nif not os.fork(): os._exit(0)\nprint('ready', flush=True)\ntime.sleep(1000)"
    with started([python, "-c", script]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        zombie = wait_until(lambda: children_in(process.pid, "Z"), "a zombie")[0]
        answer = diag("stacks", zombie)
        assert answer.code == 0, answer
        words = answer.json["stacks"][0]["waits_for"]["words"]
        name = os.path.basename(python)[:15]
        assert words == f"has ended; its parent, pid {process.pid} ({name}), has not collected it"


def children_in(pid: int, letter: str) -> list[int]:
    return [child for child in children(pid) if state(child) == letter]
