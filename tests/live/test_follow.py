"""diag segfaults --follow: logs that are written to, rotated and cut short, and the real kernel's ring."""

from __future__ import annotations

import gzip
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.crashes.logs import START, celery, segfault
from tests.support.crashes import build
from tests.support.journals import kernel, write_journal
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0


class Follower:
    """A running diag segfaults --follow."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)

    def next(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._lines.get(timeout=PATIENCE))
        except queue.Empty:
            raise AssertionError(f"nothing came; exit status {self.process.poll()}") from None
        return found

    def soon(self, seconds: float) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self._lines.get(timeout=seconds))
        except queue.Empty:
            return None
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def following(*logs: object, ready: Path | None = None) -> Iterator[Follower]:
    command = [sys.executable, "-m", "diag", "segfaults", "--follow", "--format", "json", *map(str, logs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if ready is not None:
                wait_until(lambda: str(ready) in opened(process.pid), f"{ready} is open", timeout=PATIENCE)
            yield Follower(process)
        finally:
            process.kill()


def opened(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return found


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "messages"
    path.write_text(segfault(tid=1) + "\n")  # of the past: not told
    return path


def test_each_new_crash_is_told_when_it_comes_over_both_kinds_of_rotation(log: Path) -> None:
    with following(log, ready=log) as follower:
        append(log, segfault(tid=2, name="python") + "\n")
        first = follower.next()
        assert (first["event"]["pid"], first["event"]["at"]) == (2, {"file": str(log), "line": 2})
        assert first["findings"][0]["code"] == "C003"
        log.rename(log.with_suffix(".1"))
        append(log.with_suffix(".1"), segfault(START + 60, tid=3, name="python") + "\n")
        assert follower.next()["event"]["pid"] == 3
        log.write_text("x\n" + segfault(START + 120, tid=4, name="python") + "\n")
        fourth = follower.next()
        assert (fourth["event"]["pid"], fourth["event"]["at"]["line"], fourth["group"]["count"]) == (4, 2, 3)
        wait_until(lambda: str(log) in opened(follower.process.pid), "the new file is open", timeout=PATIENCE)
        os.truncate(log, 0)  # copytruncate
        append(log, segfault(START + 180, tid=5, name="python") + "\n" + "y" * 4000 + "\n")
        fifth = follower.next()
        assert (fifth["event"]["pid"], fifth["event"]["at"]["line"]) == (5, 1)
        assert follower.stop() == 3


def test_the_same_line_after_a_rotation_is_another_crash(log: Path) -> None:
    with following(log, ready=log) as follower:
        append(log, segfault(tid=2, name="former") + "\n")
        assert follower.next()["group"]["program"] == "former"
        log.rename(log.with_suffix(".1"))
        log.write_text("x\n" + segfault(START + 60, tid=3, name="latter") + "\n")
        found = follower.next()
        assert (found["event"]["at"]["line"], found["group"]["program"]) == (2, "latter")
        assert "latter" in found["findings"][0]["summary"]


def test_a_line_is_told_when_it_is_whole_and_a_report_joins_its_crash(log: Path) -> None:
    line = segfault(tid=2, name="python")
    with following(log, ready=log) as follower:
        append(log, line[:60])
        append(log, line[60:] + "\n")
        assert follower.next()["event"]["library"] == "libx.so"
        append(log, celery(START + 3) + "\n")
        told = follower.next()
        assert (told["event"]["form"], told["group"]["program"], told["group"]["count"]) == (
            "billiard-exit",
            "python",
            1,
        )


def test_nothing_found_and_stopped_is_exit_code_0(log: Path) -> None:
    with following(log, ready=log) as follower:
        append(log, "an ordinary line\n")
        assert follower.stop() == 0


def test_it_ends_with_its_reader(log: Path) -> None:
    command = [sys.executable, "-m", "diag", "segfaults", "--follow", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(PATIENCE) == 0


def test_the_past_is_told_first_where_a_time_is_given(log: Path) -> None:
    with following(log, "--since", "2026-11-01") as follower:
        assert follower.next()["event"]["pid"] == 1


def test_standard_input_ends_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diag", "segfaults", "--follow", "-"],
        input=segfault() + "\n",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 3
    assert "C003" in done.stdout


def test_a_log_that_is_not_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diag", "segfaults", "--follow", str(tmp_path / "missing")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "missing" in done.stderr
    assert "hint:" in done.stderr


def test_a_real_crash_through_the_kernels_ring(tmp_path: Path) -> None:
    crasher = build(tmp_path)
    with following() as follower:
        wait_until(lambda: "/dev/kmsg" in opened(follower.process.pid), "the ring is open", timeout=PATIENCE)

        names: set[str] = set()

        def crash() -> dict[str, Any] | None:  # again, for the kernel leaves lines out when there are many
            names.add(crasher.die("read-null"))
            while told := follower.soon(2.0):
                if told["event"].get("program") in names:
                    return told
            return None

        told = wait_until(crash, "a crash is told", timeout=PATIENCE)
        assert told
        assert told["event"]["decoded"]["null_offset"] == 0x1B8
        assert told["event"]["time"] is not None


def test_in_a_directory_new_logs_are_followed_and_rotated_ones_are_not_told_again(log: Path) -> None:
    home = log.parent
    append(log.with_suffix(".1"), segfault(START - 3600, tid=90) + "\n")
    with following(home, ready=log.with_suffix(".1")) as follower:
        append(log, segfault(tid=2, name="python") + "\n")
        assert follower.next()["event"]["pid"] == 2
        inner = home / "pods" / "web-0"
        inner.mkdir(parents=True)
        (inner / "0.log").write_text(segfault(START + 5, tid=3, name="python") + "\n")
        assert follower.next()["event"]["at"] == {"file": str(inner / "0.log"), "line": 1}
        # By another name: log.1 to log.2, log to log.1, and a new log.
        log.with_suffix(".1").rename(log.with_suffix(".2"))
        log.rename(log.with_suffix(".1"))
        log.write_text(segfault(START + 60, tid=4, name="python") + "\n")
        assert follower.next()["event"]["pid"] == 4
        # By a copy, and packed.
        log.with_suffix(".3").write_bytes(log.with_suffix(".1").read_bytes())
        (home / "messages.4.gz").write_bytes(gzip.compress(log.with_suffix(".2").read_bytes()))
        (home / "messages.copy").write_bytes(log.read_bytes())
        os.truncate(log, 0)
        append(log, segfault(START + 120, tid=5, name="python") + "\n")
        fifth = follower.next()
        assert (fifth["event"]["pid"], fifth["event"]["at"]["file"]) == (5, str(log))
        assert fifth["group"]["count"] == 4
        assert follower.soon(3.0) is None
        assert follower.stop() == 3


def test_a_directory_may_be_empty_at_first(tmp_path: Path) -> None:
    with following(tmp_path) as follower:
        for number in range(20):  # what lies there when it looks for the first time is of the past
            (tmp_path / f"log{number}").write_text(segfault(START + number, tid=number + 7) + "\n")
            if told := follower.soon(PATIENCE / 20):
                break
        assert told
        assert told["event"]["at"]["file"].startswith(str(tmp_path / "log"))


def test_a_journal_below_a_directory_is_followed_with_journalctl(tmp_path: Path) -> None:
    machine = tmp_path / "journal" / "0123456789abcdef0123456789abcdef"
    machine.mkdir(parents=True)
    old = segfault(tid=1).partition("] ")[2]
    write_journal(machine / "system.journal", (START, kernel(old)))
    with following(tmp_path) as follower:
        wait_until(lambda: journalctl_of(follower.process.pid), "journalctl follows", timeout=PATIENCE)
        new = segfault(tid=2, name="python").partition("] ")[2]
        write_journal(machine / "system.journal", (START + 60, kernel(new)))
        told = follower.next()
        assert (told["event"]["pid"], told["event"]["at"]["file"]) == (2, str(machine))
        assert follower.soon(1.0) is None


def journalctl_of(pid: int) -> bool:
    """Whether the journalctl of a follower has come so far that it waits for more."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any("inotify" in "".join(opened(int(child))) for child in children)
