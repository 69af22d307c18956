"""``diag stacks`` where it is hard: no such process, no right, held up, many, deep, namespaces, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag, diag_as_nobody, in_new_pid_namespace, inside
from tests.support.interpreters import interpreter, on_pythons, version_of
from tests.support.locked import ROOT
from tests.support.processes import (
    children,
    read,
    running,
    started,
    state,
    wait_for_call,
    wait_until,
)
from tests.support.require import need_root, require

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live

GONE = 4194303  # one below the kernel's highest possible pid_max: nobody has it


def test_no_such_process_is_an_error_with_a_hint() -> None:
    answer = diag("stacks", GONE)
    assert answer.code == 1
    assert answer.stderr.startswith(f"diag: no such process: {GONE}\nhint: ")


@pytest.mark.parametrize("wrong", ["0", "-1", "abc", "1.5"])
def test_what_is_no_pid_is_a_usage_error(wrong: str) -> None:
    assert diag("stacks", "--", wrong).code == 2


def test_one_of_several_is_missing(python: str) -> None:
    with running(python, "idle.py", "sleep") as program:
        answer = diag("stacks", GONE, program.pid)
        assert answer.code == 0
        assert [gap["hides"] for gap in answer.json["gaps"]] == [f"process {GONE}"]
        assert [thread["pid"] for thread in answer.json["stacks"]] == [program.pid]


def test_diag_itself_is_refused() -> None:
    script = (
        "import os, sys; os.execv(sys.executable, [sys.executable, '-m', 'diag', 'stacks', str(os.getpid())])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "is diag itself" in done.stderr


def test_a_thread_id_stands_for_its_process(python: str) -> None:
    with running(python, "idle.py", "workers") as program:
        wait_for_call(program.pid, "futex", 4)
        tid = max(int(name) for name in os.listdir(f"/proc/{program.pid}/task"))
        pids = {thread["pid"] for thread in diag("stacks", tid).json["stacks"]}
        assert pids == {program.pid}


def test_kernel_thread() -> None:
    require(read("/proc/2/comm") == "kthreadd\n", "needs to see kernel threads: not in a container")
    answer = diag("stacks", 2, "--no-children")
    assert answer.code == 0, answer
    words = answer.json["stacks"][0]["waits_for"]["words"]
    assert words.startswith("kernel thread, starts other kernel threads: ")


def test_without_the_right_to_look(python: str) -> None:
    need_root()
    with running(python, "idle.py", "workers") as program:
        answer = diag_as_nobody("stacks", program.pid)
        assert answer.code == 4, answer
        (gap,) = answer.json["gaps"]
        assert gap["hint"] == "sudo diag ..."
        assert gap["reason"] == "permission denied"
        assert len(answer.json["stacks"]) == 5
        assert "diag may not see" in answer.json["stacks"][0]["waits_for"]["words"]


def test_ends_between_two_samples(python: str) -> None:
    with running(python, "idle.py", "parent") as program:
        (child,) = children(program.pid)
        command = [
            sys.executable,
            "-m",
            "diag",
            "stacks",
            str(program.pid),
            "--samples",
            "2",
            "--interval",
            "2",
        ]
        look = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        # py-spy has been here once it is seen to trace the child, and then no more.
        wait_until(lambda: look.poll() is not None or traced(child), "the first sample", timeout=30)
        wait_until(lambda: not traced(child), "the end of the first sample")
        os.kill(child, signal.SIGKILL)
        out, err = look.communicate(timeout=60)
        assert (look.returncode, err) == (0, b""), (out, err)


def traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in read(f"/proc/{pid}/status")


def test_traced_by_another(python: str) -> None:
    with running(python, "held_up.py", "traced") as program:
        child = program.said["child"]
        answer = diag("stacks", child)
        (thread,) = answer.json["stacks"]
        assert f"stopped by its tracer, pid {program.pid} (" in thread["waits_for"]["words"]
        assert thread["frames"][0]["function"] == "traced"
        assert state(child) == "t"


def test_uninterruptible_sleep_does_not_hang_diag(python: str, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with running(python, "held_up.py", "disk", fifo) as program:
        wait_until(lambda: state(program.pid) == "D", "D state")
        begun = time.monotonic()
        answer = diag("stacks", program.pid)
        assert time.monotonic() - begun < 10
        words = {thread["pid"]: thread["waits_for"]["words"] for thread in answer.json["stacks"]}
        assert words[program.pid].startswith("waits for its new child"), words
        assert any("opens FIFO" in text or "somebody opens FIFO" in text for text in words.values())
        frames = next(t["frames"] for t in answer.json["stacks"] if t["pid"] == program.pid)
        assert frames[0]["function"] == "disk"


def test_five_hundred_threads(python: str) -> None:
    with running(python, "many.py", "threads", 500) as program:
        wait_for_call(program.pid, "sleep", 501)
        answer = diag("stacks", program.pid)
        assert answer.code == 0
        assert len(answer.json["stacks"]) == 501
        assert all(thread["frames"] for thread in answer.json["stacks"])
        text = diag("stacks", program.pid, form="terminal").stdout
        assert "500 threads" in text
        assert len(text.splitlines()) < 40


def test_deep_recursion_is_folded(python: str) -> None:
    with running(python, "many.py", "frames", 1000) as program:
        wait_for_call(program.pid, "sleep")
        assert len(diag("stacks", program.pid).json["stacks"][0]["frames"]) == 1002
        text = diag("stacks", program.pid, form="terminal").stdout
        assert "these 2 lines 500 times in a row" in text
        assert len(text.splitlines()) < 20


@on_pythons("2.7", "3.8", "3.13")
@pytest.mark.parametrize("options", [(), ("--no-pause",)])
def test_target_in_another_pid_namespace(python: str, options: tuple[str, ...]) -> None:
    with running([*in_new_pid_namespace(), python], "idle.py", "workers") as program:
        (inner,) = wait_until(lambda: children(program.pid), "the process inside")
        wait_for_call(inner, "futex", 4)
        answer = diag("stacks", inner, *options)
        threads = {thread["tid"]: thread for thread in answer.json["stacks"]}
        assert threads.keys() == {int(name) for name in os.listdir(f"/proc/{inner}/task")}
        assert all(thread["frames"] for thread in threads.values()), answer
        assert threads[inner]["frames"][0]["function"] == "workers"
        assert threads[inner]["container_pid"] == 1
        if version_of(python) != "2.7":
            assert {t["thread"] for t in threads.values()} == {
                "MainThread",
                *(f"worker-{n}" for n in range(4)),
            }


def test_who_may_not_look_into_a_process_still_sees_its_file_lock_in_the_table(
    python: str, tmp_path: Path
) -> None:
    with running(python, "locks.py", "self-nested", tmp_path / "app.lock") as program:
        wait_for_call(program.pid, "flock")
        answer = diag_as_nobody("stacks", program.pid)
        [thread] = answer.json["stacks"]
        assert thread["waits_for"]["resource"]["kind"] == "file-lock", answer
        assert "held by its own process" in thread["waits_for"]["words"]
        assert answer.code == 4  # its line of code stays hidden


def test_diag_in_the_targets_own_pid_namespace(python: str) -> None:
    with running([*in_new_pid_namespace(), python], "idle.py", "workers") as program:
        (inner,) = wait_until(lambda: children(program.pid), "the process inside")
        wait_for_call(inner, "futex", 4)
        answer = diag("stacks", 1, within=inside(inner))
        assert (answer.code, answer.json["gaps"]) == (0, []), answer
        assert {thread["pid"] for thread in answer.json["stacks"]} == {1}
        assert all(thread["frames"] for thread in answer.json["stacks"])


def test_nothing_stays_stopped_when_diag_is_killed(python: str) -> None:
    with running(python, "many.py", "threads", 500) as program:
        wait_for_call(program.pid, "sleep", 501)
        for _ in range(3):
            command = [sys.executable, "-m", "diag", "stacks", "--native", str(program.pid)]
            look = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            wait_until(partial(at_work, look, program.pid), "py-spy at work")
            look.kill()
            look.wait()
            # Threads are let go one after the other.
            wait_until(lambda: not threads_held(program.pid), "py-spy has let all of them go")


def at_work(look: subprocess.Popen[bytes], pid: int) -> bool:
    return look.poll() is not None or traced(pid)


def threads_held(pid: int) -> list[str]:
    names = os.listdir(f"/proc/{pid}/task")
    held = [name for name in names if state(pid, int(name)) in ("T", "t")]
    return held or [
        name for name in names if "TracerPid:\t0\n" not in read(f"/proc/{pid}/task/{name}/status")
    ]


@pytest.mark.parametrize(
    ("script", "reason", "code"),
    [
        ("echo 'Error: Failed to do it\nReason: no luck' >&2; exit 1", "no luck", 0),
        ("echo '[{'", "not in the known form", 0),
        ("kill -SEGV $$", "without a word", 0),
        (None, "cannot run py-spy", 4),
    ],
)
def test_py_spy_fails(python: str, tmp_path: Path, script: str | None, reason: str, code: int) -> None:
    """What it can not read is read from memory; where it is not there at all, that is to be mended."""
    with running(python, "idle.py", "sleep") as program:
        (tmp_path / "bin").mkdir()
        own = tmp_path / "bin" / "python3"
        own.symlink_to(os.path.realpath(sys.executable))
        if script is not None:
            fake = tmp_path / "bin" / "py-spy"
            fake.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            fake.chmod(0o755)
        packages = os.pathsep.join([str(ROOT), *(path for path in sys.path if "-packages" in path)])
        done = subprocess.run(
            [own, "-m", "diag", "stacks", str(program.pid)],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": packages},
        )
        assert done.returncode == code, done.stderr
        told = " ".join(done.stdout.split())
        assert reason in told
        assert "sleeps" in told
        assert ("read from its memory instead" in told) == (code == 0)
        assert ("idle.py:" in told) == (code == 0)  # frames of the program
        assert "Traceback" not in done.stderr


@on_pythons("2.7", "3.8", "3.13")
def test_who_waits_for_the_gil(python: str) -> None:
    """Three threads compute: at any moment one has the GIL, and nobody is said to wait for a lock."""
    script = (
        "import threading\n"
        "def work():\n    while True: sum(range(100))\n"
        "for _ in range(3):\n    t = threading.Thread(target=work); t.daemon = True; t.start()\n"
        "print('ready'); import sys; sys.stdout.flush(); threading.Event().wait(1000)\n"
    )
    with started([python, "-c", script]) as (process, _):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        for _ in range(4):
            threads = diag("stacks", process.pid).json["stacks"]
            workers = [t for t in threads if any(f["function"] == "work" for f in t["frames"])]
            assert len(workers) == 3
            assert sum(thread["owns_gil"] for thread in workers) <= 1
            waits = [thread["waits_for"] for thread in workers]
            # Under load one is now and then seen in a call that its memory needs (kind "syscall").
            assert {wait["resource"]["kind"] for wait in waits} <= {"gil", "cpu", "syscall"}, waits
            assert any(wait["resource"]["kind"] != "syscall" for wait in waits), waits


def test_native_and_no_pause_exclude_each_other() -> None:
    assert diag("stacks", 1, "--native", "--no-pause").code == 2


def test_native_frames(python: str) -> None:
    del python
    with running(interpreter("3.11"), "idle.py", "sleep") as program:
        frames = diag("stacks", program.pid, "--native").json["stacks"][0]["frames"]
        assert any(frame["native"] for frame in frames)
        assert next(frame["function"] for frame in frames if not frame["native"]) == "sleep"
