"""What somebody sees who watches a long search on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.crashes.logs import segfault

if TYPE_CHECKING:
    from pathlib import Path


def watched(*logs: object) -> str:
    """Run diag segfaults with its error stream on a terminal; return what was shown there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "diag", "segfaults", *map(str, logs)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the terminal's other end was closed
            pass
        assert process.wait(60) in {0, 3}
    os.close(ours)
    return shown.decode("utf-8", "replace")


def test_a_long_search_shows_how_far_and_how_fast(tmp_path: Path) -> None:
    log = tmp_path / "messages"
    log.write_text(segfault() + "\n")
    os.truncate(log, 3 << 30)  # sparse: zeros
    shown = watched(log)
    assert f"searching {log}" in shown
    assert " MiB/s" in shown


def test_a_file_name_does_not_drive_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log\x1b]0;owned\x07"
    log.write_text("x\n")
    assert "\x1b]0;" not in watched(log)
