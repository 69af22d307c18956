"""Who runs with a word, among real processes."""

from __future__ import annotations

import re
import subprocess
import sys

from diag.host.mentions import mentions
from tests.support.processes import started, wait_for_call

WAIT = "import signal; signal.pause()"


def test_who_has_the_word_on_its_command_line_and_who_pauses() -> None:
    with (
        started([sys.executable, "-c", WAIT, "/run/app.lock"]) as (named, _),
        started([sys.executable, "-c", WAIT]) as (other, _),
        started([sys.executable, "-c", "import time; time.sleep(600)"]) as (pauses, _),
    ):
        wait_for_call(other.pid, "pause")
        wait_for_call(pauses.pid, "sleep")
        found = mentions(["app.lock"])
        assert {named.pid, pauses.pid} <= set(found)
        assert other.pid not in found


def test_the_shell_that_started_us_is_not_among_them() -> None:
    """``ssh host 'diag locks /run/app.lock'``: the shell has our words, and waits for us."""
    script = "import os; from diag.host.mentions import mentions; print(os.getppid(), mentions(['app.lock']))"
    with started([sys.executable, "-c", WAIT, "/run/app.lock"]) as (named, _):
        wait_for_call(named.pid, "pause")
        shell = ["sh", "-c", f'{sys.executable} -c "$1" /run/app.lock; true', "sh", script]
        said = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    parent, _, found = said.partition(" ")
    pids = set(map(int, re.findall(r"\d+", found)))
    assert named.pid in pids
    assert int(parent) not in pids
