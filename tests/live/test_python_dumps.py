"""Interpreters that die and say so: whole tracebacks of all threads, on every version."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import diag
from tests.support.interpreters import interpreters, on_pythons

if TYPE_CHECKING:
    from pathlib import Path

DIES = """
import ctypes, faulthandler, os, sys, threading
faulthandler.enable()
held = threading.Event()
def waits():
    held.wait()
def dies():
    {"segv": lambda: ctypes.string_at(0x1b8), "abort": os.abort}[sys.argv[1]]()
threading.Thread(target=waits, daemon=True).start()
dies()
"""


@on_pythons(*(version for version in interpreters() if not version.startswith("2")))
@pytest.mark.parametrize(("how", "signal"), [("segv", 11), ("abort", 6)])
def test_the_traceback_of_every_thread_is_read(python: str, tmp_path: Path, how: str, signal: int) -> None:
    program = tmp_path / "dies.py"
    program.write_text(DIES)
    log = tmp_path / "app.log"
    with log.open("wb") as errors:
        done = subprocess.run([python, program, how], stderr=errors, check=False)
    assert done.returncode == -signal
    answer = diag("segfaults", log)
    (event,) = [one for one in answer.json["segfaults"]["events"] if one["form"] == "python-fatal"]
    assert event["signal"] == signal
    current = next(thread for thread in event["threads"] if thread["current"])
    names = [frame["function"].rpartition(".")[2] for frame in current["frames"]]
    assert names[-2:] == ["dies", "<module>"]
    others = [
        frame["function"]
        for thread in event["threads"]
        if not thread["current"]
        for frame in thread["frames"]
    ]
    assert any(name.rpartition(".")[2] == "waits" for name in others)
    (finding,) = answer.json["findings"]
    assert f"({program}:" in finding["summary"]
