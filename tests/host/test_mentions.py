"""Who runs with a word, among real processes."""

from __future__ import annotations

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
