"""The real stacks of real lock libraries: who asked is told without knowing any of them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diag.collectors import pyspy
from diag.collectors import source as sources
from diag.collectors.process import collect
from diag.host.live import LiveHost
from diag.model.source import Source
from diag.waits.lock_sites import asking
from tests.support.interpreters import interpreter, packages
from tests.support.processes import running, threads_in, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from diag.model.source import Ask

pytestmark = pytest.mark.live

PINS = {
    "2.7": (
        "filelock==2.0.13", "portalocker==1.7.1", "fasteners==0.15", "lockfile==0.12.2", "tenacity==5.1.5",
    ),
    "3.6": ("filelock==3.4.1", "portalocker==2.3.2", "lockfile==0.12.2"),
    "3.11": ("filelock==3.12.4", "portalocker==2.7.0"),
    "3.12": (
        "filelock==4.2.11", "portalocker==4.4.2", "fasteners==0.20", "lockfile==0.12.2", "zc.lockfile==4.0",
        "concurrent-log-handler==0.9.31", "tenacity==9.2.1", "backoff==2.2.1",
    ),
    "3.13": ("filelock==4.2.11", "portalocker==4.4.2", "fasteners==0.20"),
}  # fmt: skip
"""Versions that poll in different ways; the last are the newest of their time."""

CASES = {
    "filelock": ("2.7", "3.6", "3.11", "3.12", "3.13"),
    "filelock_acquire": ("2.7", "3.12"),
    "soft_filelock": ("2.7", "3.12"),
    "portalocker": ("2.7", "3.6", "3.11", "3.12", "3.13"),
    "portalocker_blocking": ("2.7", "3.6", "3.12"),
    "fasteners": ("2.7", "3.12", "3.13"),
    "fasteners_decorator": ("2.7", "3.12"),
    "fasteners_write": ("3.12",),
    "lockfile": ("2.7", "3.6", "3.12"),
    "mkdir_lockfile": ("2.7", "3.12"),
    "zc_lockfile": ("3.12",),
    "rotating_log": ("3.12",),
    "tenacity": ("2.7", "3.12"),
    "backoff": ("3.12",),
}
BLOCKING = ("portalocker_blocking", "rotating_log")


@pytest.mark.parametrize(("case", "version"), [(case, version) for case in CASES for version in CASES[case]])
def test_the_caller_of_the_library_is_who_asks(case: str, version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    path = packages(python, *PINS[version])
    with running(python, "lock_libraries.py", case, tmp_path, path=path) as program:
        if case in BLOCKING:  # before that its innermost line may be any
            wait_until(lambda: any(threads_in(program.pid, call) for call in ("flock", "fcntl")), "it blocks")
        ask = wait_until(lambda: look(program.pid, blocked=case in BLOCKING), f"{case} to ask")
    assert ask is not None
    assert ask.lock != "thread"
    assert ask.how == ("blocked" if case in BLOCKING else "polling")
    if case == "rotating_log":  # the handler of concurrent-log-handler uses portalocker
        assert ask.where.function.endswith("emit")
    else:
        assert ask.where.function == f"use_{case}"
    if "filelock" in case:
        assert str(tmp_path / ("a.lock.soft" if "soft" in case else "a.lock")) in ask.paths


def look(pid: int, *, blocked: bool) -> Ask | None:
    """Look once at the main thread; None when it was seen between two sleeps."""
    host = LiveHost()
    process = collect(host, pid, host.clock())
    stacks = pyspy.collect(host, process, patience=pyspy.Patience()) if process else ()
    if not isinstance(stacks, tuple) or process is None:
        return None
    stack = next(stack for stack in stacks if stack.tid in (None, pid))
    texts = {frame.file: sources.collect(host, process, frame.file) for frame in stack.frames}
    found = {file: text for file, text in texts.items() if isinstance(text, Source)}
    ask = asking(stack, found, blocked=blocked)
    return ask if ask and (blocked or ask.how == "polling") and ask.asker + 1 < len(stack.frames) else None
