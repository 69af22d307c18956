"""Locks in real processes of every interpreter: what is read against what the program says of itself."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from diag.collectors import process as processes
from diag.collectors.pyobjects import PyObjects, instances, locks
from diag.collectors.pyobjects.layouts import LAYOUTS
from diag.host import LiveHost
from diag.host.tape import RecordingHost, ReplayHost
from diag.model.facts import Gap
from tests.support.interpreters import on_pythons
from tests.support.lock_checks import check_states, check_words, lock
from tests.support.processes import read, running, wait_until, words_slept_on

if TYPE_CHECKING:
    from diag.host import Host

pytestmark = pytest.mark.live


def attach(pid: int, host: Host | None = None) -> PyObjects:
    host = host or LiveHost()
    process = processes.collect(host, pid, host.clock())
    assert process
    objects = PyObjects.attach(host, process)
    assert isinstance(objects, PyObjects), objects
    return objects


@on_pythons()
def test_every_lock_is_read_as_the_program_has_it(python: str) -> None:
    with running(python, "objects_locks.py") as program:
        words = words_slept_on(program)
        objects = attach(program.pid)
        check_states(objects, program.said)
        check_words(objects, program.said, words)
        found = instances.lock_at(objects, [words["taken"], words["rlock"]])
        wanted = {name: lock(objects, program.said, name) for name in ("taken", "rlock")}
        # An RLock of 2.7 is written in Python: the word belongs to the lock inside it.
        assert found == {words[name]: one.lock or one.address for name, one in wanted.items()}


@on_pythons("2.7", "3.8", "3.11", "3.13")
def test_a_look_at_a_lock_takes_less_than_5_ms(python: str) -> None:
    with running(python, "objects_locks.py") as program:
        objects = attach(program.pid)
        best = 1.0
        for _ in range(5):
            objects.forget()
            start = time.perf_counter()
            lock(objects, program.said, "queue")
            best = min(best, time.perf_counter() - start)
        assert best < 0.005


@on_pythons("2.7", "3.12")
def test_a_replay_reads_the_same(python: str) -> None:
    with running(python, "objects_locks.py") as program:
        words = words_slept_on(program)
        recording = RecordingHost(LiveHost(), ["test"])
        live = attach(program.pid, recording)
        before = [lock(live, program.said, name) for name in words]
        places = instances.lock_at(live, words.values())
        live.forget()
        again = [lock(live, program.said, name) for name in words]
    replay = attach(program.pid, ReplayHost.load(recording.dump()))
    assert [lock(replay, program.said, name) for name in words] == before
    assert instances.lock_at(replay, words.values()) == places
    replay.forget()
    assert [lock(replay, program.said, name) for name in words] == again


def test_processes_without_an_interpreter_give_a_gap() -> None:
    host = LiveHost()
    with subprocess.Popen(["/bin/sleep", "60"]) as child:
        wait_until(lambda: "sleep" in read(f"/proc/{child.pid}/comm"), "sleep runs")
        process = processes.collect(host, child.pid, host.clock())
        assert process
        found = PyObjects.attach(host, process)
        child.kill()
    assert isinstance(found, Gap)
    assert found.reason == "no Python interpreter is mapped"
    assert found.hint
    assert "T001" in found.blinds
    gone = PyObjects.attach(host, process)
    assert isinstance(gone, Gap)


@on_pythons("2.7", "3.10", "3.11", "3.12", "3.13")
def test_memory_that_changes_under_the_reader(python: str) -> None:
    with running(python, "objects_churn.py") as program:
        objects = attach(program.pid)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            objects.forget()
            for name, address in program.said.items():
                objects.value(address, depth=3)
                objects.attributes(address)
                found = locks.settled(objects, address)
                assert found is None or found.kind == name
        assert objects.look(program.said["dict"])
        assert objects.follow(program.said["lock"], "acquire")


@on_pythons("3.7", "3.9", "3.11", "3.12")
def test_a_patch_release_that_moved_fields_is_still_understood(
    python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(python, "objects_locks.py") as program:
        version = attach(program.pid).version[:2]
        layout = LAYOUTS[version]
        moved = layout._replace(runtime_head=layout.runtime_head + 16, interpreter_sys=8)
        monkeypatch.setitem(LAYOUTS, version, moved)
        check_states(attach(program.pid), program.said)


@on_pythons("3.6", "3.12")
def test_an_unknown_layout_is_a_gap_soon(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(python, "objects_locks.py") as program:
        monkeypatch.delitem(LAYOUTS, attach(program.pid).version[:2])
        host = LiveHost()
        process = processes.collect(host, program.pid, host.clock())
        assert process
        start = time.monotonic()
        found = PyObjects.attach(host, process)
        assert time.monotonic() - start < 3
        assert isinstance(found, Gap)
        assert "layout" in found.reason
