"""Kinds of locks and names of files: POSIX, OFD, leases, byte ranges, replaced and deleted files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.stories import LOCKS, diag_locks, lock_of, pids
from tests.support.cli import diag, in_new_pid_namespace, inside
from tests.support.processes import (
    children,
    lock_lines,
    running,
    started,
    threads_in,
    wait_for_call,
    wait_until,
    waiters,
)
from tests.support.require import need_root, need_tool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.live


@pytest.mark.parametrize("kind", ["posix", "ofd"])
def test_byte_ranges_join_a_waiter_with_the_one_range_it_wants(
    kind: str, python: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.db"
    with (
        running(python, LOCKS, "hold-ranges", path, kind, "0-10", "100-50") as culprit,
        running(python, LOCKS, "hold-ranges", path, kind, "500-10") as bystander,
        running(python, LOCKS, "wait", path, kind, 120, 1) as waiter,
    ):
        wait_for_call(waiter.pid, "fcntl")
        answer = diag_locks(path)
        assert answer.codes == ["L006"], answer
        finding = answer.found("L006", culprit.pid)
        assert pids(finding["victims"]) == {waiter.pid}
        ranges = {(lock["range"]["first"], lock["range"]["last"]): lock for lock in answer.json["locks"]}
        assert set(ranges) == {(0, 9), (100, 149), (500, 509)}, answer
        assert pids(ranges[100, 149]["waiters"]) == {waiter.pid}
        assert not ranges[0, 9]["waiters"]
        assert pids(ranges[500, 509]["holders"]) == {bystander.pid}
        assert {lock["kind"] for lock in ranges.values()} == {kind}


def test_an_ofd_lock_and_a_posix_lock_stand_in_each_others_way(python: str, tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with (
        running(python, LOCKS, "hold", path, "ofd") as holder,
        running(python, LOCKS, "wait", path, "posix") as posix,
        running(python, LOCKS, "wait", path, "ofd") as ofd,
    ):
        wait_for_call(posix.pid, "fcntl")
        wait_for_call(ofd.pid, "fcntl")
        answer = diag_locks(path)
        finding = answer.found("L006", holder.pid)
        assert pids(finding["victims"]) == {posix.pid, ofd.pid}, answer


def test_readers_that_keep_a_writer_out_are_all_holders(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "hold", path, "shared") as one,
        running(python, LOCKS, "hold", path, "shared") as two,
        running(python, LOCKS, "wait", path) as writer,
    ):
        wait_for_call(writer.pid, "flock")
        answer = diag_locks(path)
        assert answer.code == 3, answer
        holders = {pid for lock in answer.json["locks"] for pid in pids(lock["holders"])}
        assert holders == {one.pid, two.pid}, answer
        [finding] = answer.json["findings"]
        culprit = finding["culprit"]["pid"]
        [other] = {one.pid, two.pid} - {culprit}
        assert f"pid {other} holds it, too" in finding["summary"], answer
        assert any(str(other) in item["source"] for item in finding["evidence"]), answer
        assert any(str(other) in item for item in finding["remedy"]), answer
        assert pids(finding["victims"]) == {writer.pid}, answer


def test_a_lease(python: str, tmp_path: Path) -> None:
    path = tmp_path / "shared.doc"
    path.touch()
    # Whoever breaks a lease gets SIGIO's default action done to the holder: it must be ignored.
    ignoring = ["env", "--ignore-signal=IO", python]
    with (
        running(ignoring, LOCKS, "hold", path, "lease") as holder,
        running(python, LOCKS, "wait-to-open", path) as waiter,
    ):
        wait_until(lambda: threads_in(waiter.pid, "openat"), "the lease breaker waits")
        answer = diag_locks(path)
        lock = lock_of(answer, path)
        assert lock["kind"] == "lease", answer
        assert pids(lock["holders"]) == {holder.pid}
        # The kernel does not list who waits in open() until the lease is given back.
        assert pids(lock["waiters"]) <= {waiter.pid}


def test_a_replaced_lock_file_has_two_owners(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with (
        running(python, LOCKS, "replace", path) as first,
        running(python, LOCKS, "hold", path) as second,
    ):
        answer = diag_locks(path)
        assert "L007" in answer.codes, answer
        finding = answer.found("L007")
        told = str(finding)
        assert str(first.pid) in told
        assert str(second.pid) in told


def test_a_deleted_lock_file_that_nobody_else_wants_is_shown(python: str, tmp_path: Path) -> None:
    path = tmp_path / "app.lock"
    with running(python, LOCKS, "delete", path) as holder:
        answer = diag("locks")
        mine = [lock for lock in answer.json["locks"] if holder.pid in pids(lock["holders"])]
        assert [lock["deleted"] for lock in mine] == [True], answer


def test_a_directory_shows_the_locks_below_it(python: str, tmp_path: Path) -> None:
    below, elsewhere = tmp_path / "run" / "deep", tmp_path / "elsewhere"
    below.mkdir(parents=True)
    elsewhere.mkdir()
    with (
        running(python, LOCKS, "hold", below / "a.lock") as inner,
        running(python, LOCKS, "hold", elsewhere / "b.lock"),
    ):
        answer = diag("locks", tmp_path / "run")
        assert lock_of(answer)["path"] == str(below / "a.lock")
        assert pids(lock_of(answer)["holders"]) == {inner.pid}


def test_a_hard_link_is_the_same_lock(python: str, tmp_path: Path) -> None:
    path, link = tmp_path / "a.lock", tmp_path / "b.lock"
    path.touch()
    os.link(path, link)
    with (
        running(python, LOCKS, "hold", path) as holder,
        running(python, LOCKS, "wait", link) as waiter,
    ):
        wait_for_call(waiter.pid, "flock")
        finding = diag_locks(link).found("L006", holder.pid)
        assert pids(finding["victims"]) == {waiter.pid}


def test_the_same_inode_number_on_another_device_is_another_file(python: str, public: Path) -> None:
    """Two fresh tmpfs give their first file the same inode number."""
    need_root()
    mount, umount = need_tool("mount"), need_tool("umount")
    one, two = public / "one", public / "two"
    mounted = []
    try:
        for place in (one, two):
            place.mkdir()
            with started([mount, "-t", "tmpfs", "none", str(place)]) as (process, _):
                assert process.wait(10) == 0
            mounted.append(place)
            (place / "app.lock").touch()
        assert (one / "app.lock").stat().st_ino == (two / "app.lock").stat().st_ino
        with (
            running(python, LOCKS, "hold", one / "app.lock") as first,
            running(python, LOCKS, "hold", two / "app.lock") as second,
            running(python, LOCKS, "wait", two / "app.lock") as waiter,
        ):
            wait_for_call(waiter.pid, "flock")
            assert pids(lock_of(diag_locks(one / "app.lock"))["holders"]) == {first.pid}
            finding = diag_locks(two / "app.lock").found("L006")
            assert finding["culprit"]["pid"] == second.pid
    finally:
        for place in mounted:
            with started([umount, "--lazy", str(place)]) as (process, _):
                process.wait(10)


def test_a_bind_mount_is_the_same_file(python: str, public: Path) -> None:
    need_root()
    mount, umount = need_tool("mount"), need_tool("umount")
    here, there = public / "here", public / "there"
    here.mkdir()
    there.mkdir()
    with started([mount, "--bind", str(here), str(there)]) as (process, _):
        assert process.wait(10) == 0
    try:
        with (
            running(python, LOCKS, "hold", here / "app.lock") as holder,
            running(python, LOCKS, "wait", there / "app.lock") as waiter,
        ):
            wait_for_call(waiter.pid, "flock")
            for path in (here / "app.lock", there / "app.lock"):
                finding = diag_locks(path).found("L006", holder.pid)
                assert pids(finding["victims"]) == {waiter.pid}
    finally:
        with started([umount, "--lazy", str(there)]) as (process, _):
            process.wait(10)


def test_a_pid_namespace_seen_from_the_host_and_from_inside(python: str, public: Path) -> None:
    path = public / "app.lock"
    space = [*in_new_pid_namespace(), python]
    with running(space, LOCKS, "hold", path) as program:
        [holder] = wait_until(lambda: children(program.pid), "the process in the namespace")
        with running([*inside(holder), python], LOCKS, "wait", path):
            wait_until(lambda: waiters(path) == 1, "a waiter inside")
            outside = diag_locks(path)
            finding = outside.found("L006", holder)
            assert finding["culprit"]["container_pid"] == 1, outside
            assert len(finding["victims"]) == 1, outside

            within = diag("locks", path, within=inside(holder))
            assert within.found("L006", 1)["victims"], within


def test_a_holder_outside_the_namespace_is_hidden_not_absent(python: str, public: Path) -> None:
    """The kernel leaves the whole tree out of /proc/locks when the holder has no pid here."""
    path = public / "app.lock"
    with (
        running(python, LOCKS, "hold", path) as holder,
        running([*in_new_pid_namespace(), python], LOCKS, "wait", path) as program,
    ):
        [waiter] = wait_until(lambda: children(program.pid), "the process in the namespace")
        wait_for_call(waiter, "flock")
        assert lock_lines(path)
        answer = diag_locks(path)
        assert pids(answer.found("L006", holder.pid)["victims"]) == {waiter}, answer

        within = diag("locks", path, within=inside(waiter))
        assert within.code in {3, 4}, within  # never "all is well"

        alone = diag("locks", path, within=in_new_pid_namespace())
        assert alone.code == 4, alone
        assert "outside of this pid namespace" in alone.json["gaps"][0]["hides"], alone
