"""Logs made of nothing but crashes, and of lines that want all that follows: memory stays bounded."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from diag.collectors.crash_lines import follows
from diag.host.cut import LINE_LIMIT, cut
from diag.host.finder import Finder

if TYPE_CHECKING:
    from pathlib import Path

FEW = """
import sys
from diag.crashes import book
from diag.investigate import segfaults
book.FIRST, book.LAST, book.KINDS, segfaults.MOST = 400, 100, 300, 300
from diag.cli import main
sys.argv = ["diag", "segfaults", "--format", "json", *sys.argv[1:]]
main()
"""
"""Diag with bounds that a small log reaches: the real ones are the same code."""


def run(log: Path, megabytes: int) -> dict[str, Any]:
    """Run it with no more address space than that; the libraries alone need about 200 MiB."""
    size = megabytes << 20
    done = subprocess.run(
        [sys.executable, "-c", FEW, log],
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        check=False,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr.decode()
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_each_line_another_program_library_and_thread(tmp_path: Path, packed: bool) -> None:
    count = 6000
    text = "".join(
        f"Nov 11 07:00:00 web kernel: [{at / 50:12.6f}] p{at:x}[{at}]: segfault at {at * 8:x} "
        f"ip {0x7F0000000000 + at:016x} sp {0x7F24D3FFDC20 + at * 16:016x} error 4 "
        f"in l{at:x}.so[7f0000000000+{count:x}]\n"
        for at in range(1, count + 1)
    ).encode()
    log = tmp_path / "messages"
    log.write_bytes(gzip.compress(text, 1) if packed else text)
    report = run(log, 700)
    assert len(report["segfaults"]["events"]) == 500
    assert [event["pid"] for event in report["segfaults"]["events"]][-1] == count
    assert len(report["segfaults"]["groups"]) == 300
    hidden = " ".join(gap["hides"] for gap in report["gaps"])
    assert f"{count - 500} lines between the first 400 and the last 100" in hidden
    assert "200 rarer kinds of crash (200 crashes)" in hidden


def test_lines_that_want_what_follows_get_it_once() -> None:
    text = b"Fatal Python error: Aborted\n" * 20_000
    begins = Finder(["Fatal Python error: "]).begins(text)
    hits = cut(text, 0, 0, begins, len(text), follows).hits
    assert len(hits) == 20_000
    assert sum(len(hit.after) for _, hit in hits) <= LINE_LIMIT


def test_a_storm_of_tracebacks_stays_small(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    dump = b"Fatal Python error: Aborted\n\nCurrent thread 0x00007f01 (most recent call first):\n" + b"".join(
        b'  File "/srv/app/module_%d.py", line %d in function_%d\n' % (at, at, at) for at in range(90)
    )
    log.write_bytes(dump * 800)
    report = run(log, 700)
    assert len(report["segfaults"]["events"][0]["threads"][0]["frames"]) == 90
