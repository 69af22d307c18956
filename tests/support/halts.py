"""Ways to keep a process from running for a while: signals, the freezers of both cgroup versions, ptrace."""

from __future__ import annotations

import ctypes
import os
import secrets
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import read, state, wait_until
from tests.support.require import need_root, require

if TYPE_CHECKING:
    from collections.abc import Iterator

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
_V1 = Path("/sys/fs/cgroup/freezer")
_V2 = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with SIGSTOP."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state(pid) == "T", f"{pid} is stopped")
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """Attach to a process as a debugger does, and leave it stopped."""
    libc = ctypes.CDLL(None, use_errno=True)
    require(libc.ptrace(PTRACE_ATTACH, pid, None, None) == 0, "needs ptrace")
    wait_until(lambda: state(pid) == "t", f"{pid} is traced")
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, pid, None, None)


@contextmanager
def frozen_v1(pid: int) -> Iterator[None]:
    """Freeze a process in a cgroup of version 1."""
    need_root()
    require((_V1 / "cgroup.procs").exists(), "no freezer of cgroup version 1 here")
    with _cgroup(_V1, pid) as home:
        switch = home / "freezer.state"
        switch.write_text("FROZEN")
        wait_until(lambda: switch.read_text().strip() == "FROZEN", f"{pid} is frozen")
        try:
            yield
        finally:
            switch.write_text("THAWED")


@contextmanager
def frozen_v2(pid: int) -> Iterator[None]:
    """Freeze a process in a cgroup of version 2."""
    need_root()
    roots = [root for root in _V2 if (root / "cgroup.controllers").exists()]
    require(roots, "no cgroup version 2 here")
    with _cgroup(roots[0], pid) as home:
        (home / "cgroup.freeze").write_text("1")
        wait_until(lambda: "frozen 1" in read(str(home / "cgroup.events")), f"{pid} is frozen")
        try:
            yield
        finally:
            (home / "cgroup.freeze").write_text("0")


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """Let a process have 1 ms of CPU time in each 300, so that the load of the machine matters little."""
    need_root()
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    v1 = (first / "cpu.cfs_quota_us").exists() or (first / "cgroup.procs").exists()
    require(v1 or "cpu" in read(str(second / "cgroup.subtree_control")), "no CPU controller for cgroups here")
    with _cgroup(first if v1 else second, pid) as home:
        if v1:
            (home / "cpu.cfs_period_us").write_text("300000")
        (home / ("cpu.cfs_quota_us" if v1 else "cpu.max")).write_text("1000" if v1 else "1000 300000")
        wait_until(lambda: "nr_throttled 0" not in read(str(home / "cpu.stat")), "it has been throttled")
        yield


@contextmanager
def _cgroup(root: Path, pid: int) -> Iterator[Path]:
    """A cgroup of its own for a process, which goes back to the root afterwards."""
    home = root / f"diagtest{secrets.token_hex(4)}"
    try:
        home.mkdir()
    except OSError:
        require(False, "cgroups are read-only here")
    try:
        (home / "cgroup.procs").write_text(str(pid))
        yield home
    finally:
        with suppress(OSError):
            (root / "cgroup.procs").write_text(str(pid))
        wait_until(lambda: not (home / "cgroup.procs").read_text().strip(), "it is empty", timeout=30)
        home.rmdir()
