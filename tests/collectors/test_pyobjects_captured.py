"""Memory of every Python version, as it was recorded once: the reader finds the same on any machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from diag.collectors.pyobjects import PyObjects, locks
from diag.host.tape import ReplayHost, Tape
from diag.model.facts import Gap, Process
from tests.captures.pyobjects.capture import HERE, INFO, attach
from tests.support.lock_checks import check_states, check_words

if TYPE_CHECKING:
    from pathlib import Path

TAPES = sorted(HERE.glob("*.tape"))


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.stem)
def test_captured_memory(tape: Path) -> None:
    told = json.loads((HERE / f"{tape.stem}.json").read_text(encoding="utf-8"))
    objects = attach(ReplayHost.load(tape.read_bytes()), told["pid"])
    assert f"py{objects.version[0]}.{objects.version[1]}" == tape.stem
    check_states(objects, told["said"])
    check_words(objects, told["said"], told["words"])


def test_what_was_not_recorded_cannot_be_read() -> None:
    tape = TAPES[-1]
    told = json.loads(tape.with_suffix(".json").read_text(encoding="utf-8"))
    objects = attach(ReplayHost.load(tape.read_bytes()), told["pid"])
    assert locks.describe(objects, 0x1234568) is None
    assert objects.look(told["said"]["taken"] + 16) is None


class Closed(ReplayHost):
    """A machine that keeps its memory to itself."""

    def read(self, path: str, limit: int = 0) -> bytes:
        del limit
        raise PermissionError(13, "Permission denied", path)


def test_denied_memory_is_a_gap_that_says_how_to_lift_it() -> None:
    host = Closed(Tape(["look"], msgspec.structs.replace(INFO, uid=1000), []))
    process = Process(pid=7, ppid=1, started=0, since=0.0, name="python", state="S", uid=0)
    found = PyObjects.attach(host, process)
    assert isinstance(found, Gap)
    assert (found.reason, found.hint) == ("permission denied", "sudo diag ...")
    assert "T002" in found.blinds
