"""The C library's locks below threads that really sleep on them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from diag.collectors import native_lock, threads
from diag.host import LiveHost
from tests.support.processes import PROGRAMS, read, running, wait_until
from tests.support.require import need_tool

if TYPE_CHECKING:
    from pathlib import Path

    from diag.model.native import NativeLock

pytestmark = pytest.mark.live


@pytest.fixture(scope="module", params=["gcc", "musl-gcc"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = need_tool(request.param, "musl-tools" if "musl" in request.param else None)
    binary: Path = tmp_path_factory.mktemp("native") / f"objects_pthread_{request.param}"
    source = PROGRAMS / "objects_pthread.c"
    subprocess.run([compiler, "-O1", "-w", "-pthread", "-o", binary, source], check=True, timeout=60)
    return binary


def look(pid: int, tid: int) -> NativeLock:
    host = LiveHost()

    def sleeps() -> bool:
        return read(f"/proc/{pid}/task/{tid}/syscall").split(" ")[0] in ("202", "98")

    wait_until(sleeps, f"thread {tid} sleeps on a futex")
    thread = threads.collect_one(host, pid, tid, host.clock())
    assert thread
    found = native_lock.collect(host, thread, [int(name) for name in os.listdir(f"/proc/{pid}/task")])
    assert found
    return found


GLIBC = {
    "normal": ("mutex", "normal"),
    "recursive": ("mutex", "recursive"),
    "errorcheck": ("mutex", "errorcheck"),
    "adaptive": ("mutex", "adaptive"),
    "robust": ("mutex", "normal robust shared"),  # glibc sets both bits
    "pi": ("mutex", "normal pi"),
    "shared": ("mutex", "normal shared"),
    "dead": ("mutex", "normal"),
    "written": ("rwlock", ""),
    "written_too": ("rwlock", ""),
    "read_held": ("rwlock", ""),
    "cond": ("condition", ""),
    "sem": ("semaphore", ""),
    "shared_sem": ("semaphore", ""),
    "stream": ("stdio", ""),
    "sleeper": ("join", ""),
}
OWNED = ("normal", "recursive", "errorcheck", "adaptive", "robust", "pi", "shared", "written", "written_too")


def test_kind_address_and_owner(program: Path) -> None:
    with running([str(program)], "objects_pthread.c") as child:
        found = {name: look(child.pid, child.said[f"tid_{name}"]) for name in GLIBC}
    if "musl" in program.name:
        owners = {found[name].owner_tid for name in ("recursive", "errorcheck", "robust")}
        assert owners == {child.pid}, found
        return
    assert {name: (one.kind, one.variant) for name, one in found.items()} == GLIBC
    for name, one in found.items():
        if name in child.said:
            assert one.address == child.said[name], name
        assert one.shared == (name in ("shared", "shared_sem", "robust")), name
    for name in OWNED:
        assert (found[name].owner_tid, found[name].owner_lives) == (child.pid, True), name
    assert found["recursive"].count == 2
    assert found["dead"].owner_tid
    assert found["dead"].owner_lives is False
    assert (found["written"].mode, found["written_too"].mode) == ("write", "write")
    assert (found["read_held"].mode, found["read_held"].count, found["read_held"].owner_tid) == (
        "read",
        2,
        None,
    )
    assert found["cond"].waiters == 1
    assert found["sem"].waiters == 1
    assert found["sleeper"].owner_lives
