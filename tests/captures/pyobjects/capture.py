"""Record what the reader reads of tests/programs/objects_locks.py under each Python.

Run as ``python -m tests.captures.pyobjects.capture [VERSION…]``: writes one recording a version, and
beside it what the program said of itself and the words its threads slept on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diag.collectors.pyobjects import PyObjects
from diag.host import LiveHost
from diag.host.records import HostInfo
from diag.host.tape import RecordingHost
from diag.model.facts import Process
from tests.support.interpreters import interpreter, interpreters
from tests.support.lock_checks import check_states, check_words
from tests.support.processes import running, words_slept_on

if TYPE_CHECKING:
    from diag.host import Host

HERE = Path(__file__).parent
INFO = HostInfo(
    name="host", kernel="6.18", machine="x86_64", boot_id="", ticks=100, page_size=4096, cpus=1, uid=0, pid=1,
    capabilities=0, container=None, cwd="/", timezone="+0000",
)  # fmt: skip


class Nameless(LiveHost):
    """The machine diag runs on, without saying which."""

    info = INFO


def attach(host: Host, pid: int) -> PyObjects:
    """Attach to a process of which nothing but its number is recorded."""
    objects = PyObjects.attach(host, Process(pid=pid, ppid=1, started=0, since=0.0, name="python", state="S"))
    assert isinstance(objects, PyObjects), objects
    return objects


def capture(version: str) -> None:
    """Record one version."""
    with running(interpreter(version), "objects_locks.py") as program:
        words = words_slept_on(program)
        host = RecordingHost(Nameless(), ["look"])
        objects = attach(host, program.pid)
        check_states(objects, program.said)
        check_words(objects, program.said, words)
        told = {"pid": program.pid, "said": program.said, "words": words}
        (HERE / f"py{version}.tape").write_bytes(host.dump())
        (HERE / f"py{version}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for one in sys.argv[1:] or interpreters():
        capture(one)
