"""Every way to hold, ask and reenter that lock_cases.py plays, as py-spy saw it under five Pythons."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

from diag.collectors.pyspy import parse_dump
from diag.model.source import Source, Sure
from diag.waits.lock_sites import asking, doing, handler_between, held, retaken, signaller
from tests.captures.lock_cases.capture import HERE, VERSIONS

if TYPE_CHECKING:
    from diag.model.facts import Stack

LOCK = "/run/app/a.lock"
FILE = "/srv/lock_cases.py"
TEXT = (HERE / "source.txt").read_bytes()
SOURCES = {FILE: Source(file=FILE, text=TEXT)}


@cache
def dumps(version: str) -> dict[str, Stack]:
    found = json.loads((HERE / f"py{version}.json").read_text(encoding="utf-8"))
    return {case: parse_dump(json.dumps(dump).encode())[0] for case, dump in found.items()}


def line(text: str, after: str = "") -> int:
    """The number of the first line that holds ``text``, behind the one that holds ``after``."""
    lines = TEXT.decode().splitlines()
    start = next(number for number, found in enumerate(lines) if after in found)
    return next(number for number, found in enumerate(lines[start:], start + 1) if text in found)


ASKS = {
    "handler_reenters": ("polling", "with FileLock(self.lock_file_name)", ""),
    "finalizer_reenters": ("polling", "with FileLock(self.lock_file_name)", ""),
    "second_descriptor": ("blocked", "fcntl.flock(second", ""),
    "polls": ("polling", "with FileLock(path)", "def polls("),
    "polls_plainly": ("polling", "fcntl.lockf(", "def polls_plainly"),
    "polls_in_turns": ("polling", "lock._try()", "def polls_in_turns"),
    "polls_by_retry": ("polling", "take_lock(path)", "def polls_by_retry"),
    "polls_with_event": ("polling", "lock._try()", "def polls_with_event"),
    "polls_soft": ("polling", "return os.open", "def polls_soft"),
    "blocks": ("blocked", "fcntl.flock(", "def blocks"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ASKS)
def test_who_asks_how_and_for_what(case: str, version: str) -> None:
    how, text, after = ASKS[case]
    ask = asking(dumps(version)[case], SOURCES)
    assert ask is not None
    assert (ask.how, ask.lock, ask.sure) == (how, "file", Sure.SOURCE)
    assert ask.where.file == FILE
    assert ask.paths[0] == LOCK
    assert ask.where.line == line(text, after)


REENTRIES = {
    "handler_reenters": ("signal", "SIGTERM", "on_term"),
    "method_reenters": ("signal", "SIGUSR1", "on_signal"),
    "lambda_reenters": ("signal", "SIGTERM", "<lambda>"),
    "finalizer_reenters": ("finalizer", "", "__del__"),
    "weakref_reenters": ("weakref", "", "gone"),
    "collector_reenters": ("gc", "", "collected"),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REENTRIES)
def test_the_outer_frame_holds_it_and_this_came_between(case: str, version: str) -> None:
    if case not in dumps(version):
        assert (case, version) == ("collector_reenters", "2.7")  # it has no gc.callbacks
        return
    stack = dumps(version)[case]
    found = retaken(stack, SOURCES, LOCK)
    assert found is not None
    taken = line("with FileLock(self.lock_file_name)")
    assert (found.site.where.line, found.ask.where.line, found.sure) == (taken, taken, Sure.SOURCE)
    handler = handler_between(stack, found.outer, found.ask.inner)
    assert handler is not None
    kind, name, function = REENTRIES[case]
    assert (handler.kind, handler.name, handler.where.function.rpartition(".")[2]) == (kind, name, function)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_descriptor_for_the_same_path(version: str) -> None:
    stack = dumps(version)["second_descriptor"]
    found = retaken(stack, SOURCES, LOCK)
    assert found is not None
    assert (found.sure, found.site.expression) == (Sure.MEMORY, "fcntl.flock(first, fcntl.LOCK_EX)")
    assert handler_between(stack, found.outer, found.ask.inner) is None


HEALTHY = ("healthy_worker", "healthy_holder", "healthy_pace", "healthy_server", "stops_children")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_processes_ask_for_nothing(case: str, version: str) -> None:
    stack = dumps(version)[case]
    assert asking(stack, SOURCES) is None
    assert retaken(stack, SOURCES, LOCK) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_pollers_hold_nothing(version: str) -> None:
    for case, stack in dumps(version).items():
        if case.startswith(("polls", "blocks")):
            assert [site for frame in stack.frames for site in held(frame, SOURCES[FILE])] == []
            assert retaken(stack, SOURCES, LOCK) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_healthy_holder_is_seen_to_hold(version: str) -> None:
    frame = dumps(version)["healthy_holder"].frames[0]
    assert [site.expression for site in held(frame, SOURCES[FILE])] == ["FileLock(path)"]


@pytest.mark.parametrize("version", VERSIONS)
def test_only_the_parent_that_keeps_signalling_is_one(version: str) -> None:
    for case, stack in dumps(version).items():
        where = signaller(stack, SOURCES)
        if case == "stops_children":
            assert where is not None
            assert where.line == line("os.kill(child.pid")
        else:
            assert where is None, case


@pytest.mark.parametrize("version", VERSIONS)
def test_what_they_are_doing_in_words(version: str) -> None:
    said = {case: doing(stack, SOURCES) for case, stack in dumps(version).items()}
    words = {case: found.words for case, found in said.items() if found}
    assert words["healthy_pace"].startswith("sleeping in time.sleep, lock_cases.py:")
    assert words["healthy_server"].startswith("in select.select, lock_cases.py:")
    assert words["polls_with_event"].startswith(("in wait, ", "in Event.wait, "))
    assert words["blocks"].endswith("in blocks")
