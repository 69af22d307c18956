"""Processes that the real kernel kills for memory, or that abort: what is logged, and what diag says."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Answer, diag
from tests.support.crashes import rsyslog
from tests.support.interpreters import on_pythons
from tests.support.memory import memory_cgroup
from tests.support.processes import wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

EATS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int count, char **words) {
    FILE *procs = fopen(words[1], "w");
    if (procs == NULL || fputs("0", procs) < 0 || fclose(procs) != 0)
        return 1;
    for (;;)
        memset(malloc(1 << 20), 1, 1 << 20);
}
"""
TWICE = """
#include <stdlib.h>
int main(void) {
    char *volatile p = malloc(2000);
    free(p);
    free(p);
}
"""


def compiled(text: str, program: Path) -> Path:
    source = program.with_suffix(".c")
    source.write_text(text)
    subprocess.run([need_tool("gcc"), "-O0", "-w", source, "-o", program], check=True)
    return program


@pytest.fixture
def eater(tmp_path: Path) -> Path:
    """A program under a name that nobody else has: other tests run out of memory, too."""
    return compiled(EATS, tmp_path / f"eat{secrets.token_hex(5)}")


def killed(eater: Path) -> int:
    """Let it eat until the kernel kills it; return its number."""
    with memory_cgroup() as procs:
        process = subprocess.Popen([eater, procs], stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
        assert process.returncode == -9, said
    return process.pid


def finding(answer: Answer, name: str) -> dict[str, Any]:
    (only,) = [one for one in answer.json["findings"] if name in one["summary"]]
    found: dict[str, Any] = only
    return found


def test_a_memory_cgroup_that_is_full_and_what_gunicorn_says_of_it(eater: Path, tmp_path: Path) -> None:
    pid = killed(eater)
    log = tmp_path / "gunicorn.log"
    when = time.strftime("%Y-%m-%d %H:%M:%S +0000", time.gmtime())
    log.write_text(f"[{when}] [7] [ERROR] Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?\n")
    ring = tmp_path / "dmesg"
    ring.write_bytes(subprocess.run(["dmesg"], capture_output=True, check=True).stdout)
    answer = diag("segfaults", ring, log)
    found = finding(answer, eater.name[:15])
    assert found["code"] == "C007"
    assert "memory cgroup" in found["summary"]
    (group,) = [one for one in answer.json["segfaults"]["groups"] if one["program"] == eater.name[:15]]
    assert (group["kind"], group["count"]) == ("oom", 1)
    assert {line["file"] for line in group["reports"]} == {str(ring), str(log)}
    assert pid in {victim["pid"] for victim in found["victims"]}


def test_the_ring_and_what_rsyslog_wrote_are_one_death(eater: Path, tmp_path: Path) -> None:
    def attempt() -> tuple[Answer, dict[str, Any]] | None:  # another reader of /proc/kmsg may take the line
        killed(eater)
        answer = diag("segfaults", messages)
        groups = [one for one in answer.json["segfaults"]["groups"] if one["program"] == eater.name[:15]]
        return (answer, groups[0]) if groups else None

    with rsyslog(tmp_path) as messages:
        told = wait_until(attempt, "rsyslog wrote the line", timeout=60)
    assert told
    answer, group = told
    assert finding(answer, eater.name[:15])["code"] == "C007"
    copy = tmp_path / "kern.log"
    shutil.copy(messages, copy)
    (twice,) = [
        one
        for one in diag("segfaults", messages, copy).json["segfaults"]["groups"]
        if one["program"] == eater.name[:15]
    ]
    assert twice["count"] == group["count"]


ABORTS = """
import concurrent.futures, os
def task():
    os.abort()
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(task).result()
"""


@on_pythons("3.13", "3.9")
def test_a_pool_whose_worker_aborted_writes_a_line_that_is_found(python: str, tmp_path: Path) -> None:
    program = tmp_path / "aborts.py"
    program.write_text(ABORTS)
    log = tmp_path / "app.log"
    with log.open("wb") as errors:
        subprocess.run([python, "-X", "faulthandler", program], stderr=errors, check=False, timeout=60)
    answer = diag("segfaults", log)
    assert "C012" in answer.codes
    assert {event["form"] for event in answer.json["segfaults"]["events"]} >= {"python-fatal", "other"}


def test_a_double_free_is_told_by_the_c_library(tmp_path: Path) -> None:
    program = compiled(TWICE, tmp_path / "twice")
    log = tmp_path / "app.log"
    with log.open("wb") as errors:
        done = subprocess.run([program], stderr=errors, check=False)
    assert done.returncode == -6
    assert diag("segfaults", log).codes == ["C006"]
