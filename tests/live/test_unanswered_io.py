"""P004 on a real FUSE file system in a mount namespace of its own, and diag itself beside a dead one."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag, diag_as_nobody
from tests.support.processes import Program, read, running, state, wait_until
from tests.support.require import need_root, need_tool, require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
LIMIT = 40
"""Seconds a whole run of diag may take, on a loaded machine; without care it would never end."""


@contextmanager
def mounted(call: str, how: str, directory: Path) -> Iterator[Program]:
    need_root()
    require(os.path.exists("/dev/fuse"), "needs /dev/fuse: modprobe fuse")
    with running(sys.executable, "fuse_server.py", call, how, directory) as program:
        yield program


def hangs(pid: int) -> Callable[[], bool]:
    """Whether the first thread has slept in the kernel for a file server at a hundred looks."""

    def look() -> bool:
        words = [read(f"/proc/{pid}/wchan") for _ in range(100)]
        return all("request_wait_answer" in word or "folio" in word for word in words)

    return look


@pytest.fixture(params=["read", "mapped", "stat", "write", "open", "list"])
def call(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_stopped_server_is_the_culprit_whatever_the_client_does(call: str, tmp_path: Path) -> None:
    with mounted(call, "answers", tmp_path) as program:
        client = program.said["client"]
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: state(program.pid) == "T", "the server is stopped")
        wait_until(hangs(client), "the client hangs")
        answer = diag("why", client, timeout=LIMIT)
        found = answer.found("P004", program.pid)
        # mmap() asks for the size of the file and keeps the GIL meanwhile: that is true as well.
        assert set(answer.codes) - {"T007"} == {"P004"}, answer
        assert found["severity"] == "critical"
        # A page fault tells no address, and close(2) no descriptor: it is the one such file system there.
        unnamed = call in ("mapped", "open") and found["confidence"] == "likely"
        assert unnamed or found["confidence"] == "certain", answer
        assert [victim["pid"] for victim in found["victims"]] == [client]
        assert found["resource"]["path"].startswith(f"{tmp_path}/a mount")
        assert "FUSE file system archive on" in found["summary"]
        assert f"kill -CONT {program.pid}" in found["remedy"][0]
        assert state(client) in "SD", "diag must leave the client as it was"


def test_a_page_fault_names_the_file_system(tmp_path: Path) -> None:
    with mounted("fault", "answers", tmp_path) as program:
        client = program.said["client"]
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(hangs(client), "the client hangs")
        found = diag("why", client, timeout=LIMIT).found("P004", program.pid)
        assert found["confidence"] == "likely"
        assert found["resource"]["path"] == f"{tmp_path}/a mount/file"


def test_a_server_that_waits_for_a_lock_leads_on_to_who_has_it(tmp_path: Path) -> None:
    with mounted("read", "locked", tmp_path) as program:
        client = program.said["client"]
        wait_until(hangs(client), "the client hangs")
        answer = diag("why", client, timeout=LIMIT)
        found = answer.found("P004")
        assert found["confidence"] == "likely"
        assert [link["waiter"]["pid"] for link in found["chain"]] == [client, program.pid]
        assert found["chain"][1]["held_by"][0]["pid"] == program.said["holder"]


@pytest.mark.parametrize("how", ["answers", "slowly"])
def test_a_server_that_answers_gives_nothing(how: str, tmp_path: Path) -> None:
    with mounted("read", how, tmp_path) as program:
        answer = diag("why", program.said["client"], program.pid, timeout=LIMIT)
        assert (answer.code, answer.codes, answer.json["gaps"]) == (0, [], []), answer


def test_diag_ends_beside_a_server_that_never_answers(tmp_path: Path) -> None:
    """Its request is with the server already: not even SIGKILL would end a thread that asks too."""
    with mounted("read", "silent", tmp_path) as program:
        client = program.said["client"]
        wait_until(hangs(client), "the client hangs")
        enter = (need_tool("nsenter", "util-linux"), "--target", str(client), "--mount")
        asked = diag("locks", tmp_path / "a mount" / "file", within=enter, timeout=LIMIT)
        assert asked.code == 1, asked
        assert "no answer" in asked.stderr + asked.stdout, asked
        for command in (("why", client), ("stacks", client)):
            assert diag(*command, within=enter, timeout=LIMIT).code in (0, 3), command
        assert diag("scan", within=enter, timeout=90).json["verdict"], "scan must end"


def test_who_may_not_see_the_server_is_told_so(tmp_path: Path) -> None:
    with mounted("read", "answers", tmp_path) as program:
        client = program.said["client"]
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(hangs(client), "the client hangs")
        answer = diag_as_nobody("why", client, timeout=LIMIT)
        assert (answer.code, answer.json["verdict"]) == (4, "blind"), answer
        assert all(gap["hint"] for gap in answer.json["gaps"]), answer
