"""L007 and L008: lock files that are not what their path says."""

from __future__ import annotations

from msgspec.structs import replace

from diag.model.finding import Confidence, Severity
from diag.model.graph import How
from diag.model.snapshot import Lock, Snapshot, SoftLock
from diag.rules import replaced_lock_file, stale_lock_file
from tests.rules.lock_world import finding, hold, quiet, resource, wait

OLD, NEW = resource("a"), replace(resource("a"), key="file-lock:new", inode=500)
GONE = Lock(resource=OLD, holders=(hold(5, OLD),), deleted=True, replaced_by=500)
STALE = SoftLock(
    path="/run/a.lock",
    resource=resource("a", "soft-lock"),
    owner=44,
    host=None,
    alive=False,
    text="44",
    only_exists=True,
)
POLLS = wait(6, of=resource("a", "soft-lock"), how=How.POLLING)


def test_two_owners_of_one_path() -> None:
    rival = Lock(resource=NEW, holders=(hold(6, NEW),))
    found = finding(replaced_lock_file, Snapshot(locks=(GONE, rival)))
    assert (found.severity, found.confidence) == (Severity.CRITICAL, Confidence.CERTAIN)
    assert [victim.pid for victim in found.victims] == [6]
    alone = finding(replaced_lock_file, Snapshot(locks=(GONE,)))
    assert alone.severity is Severity.WARNING


def test_replaced_lock_file_is_quiet_and_admits_blindness() -> None:
    assert quiet(replaced_lock_file, Snapshot(locks=(Lock(resource=OLD, holders=(hold(5, OLD),)),)))
    # A private file that was deleted at once, on purpose: its path names nothing.
    assert quiet(replaced_lock_file, Snapshot(locks=(replace(GONE, replaced_by=None),)))
    assert quiet(replaced_lock_file, Snapshot(locks=(replace(GONE, asked=False),)))


def test_a_pid_file_whose_process_is_gone() -> None:
    found = finding(stale_lock_file, Snapshot(soft_locks=(STALE,)))
    assert (found.severity, found.confidence) == (Severity.WARNING, Confidence.LIKELY)
    polled = finding(stale_lock_file, Snapshot(soft_locks=(STALE,), waits=(POLLS,)))
    assert (polled.severity, polled.confidence) == (Severity.CRITICAL, Confidence.CERTAIN)
    assert [victim.pid for victim in polled.victims] == [6]


def test_what_flock_users_leave_behind_is_no_more_than_possible() -> None:
    left = replace(STALE, only_exists=False)
    found = finding(stale_lock_file, Snapshot(soft_locks=(left,)))
    assert (found.severity, found.confidence) == (Severity.INFO, Confidence.POSSIBLE)


def test_an_empty_lock_file_that_others_poll_for_and_nobody_can_own() -> None:
    empty = replace(STALE, owner=None, alive=None, text="", abandoned=True)
    found = finding(stale_lock_file, Snapshot(soft_locks=(empty,), waits=(POLLS,)))
    assert found.confidence is Confidence.POSSIBLE
    assert quiet(stale_lock_file, Snapshot(soft_locks=(empty,)))
    assert quiet(stale_lock_file, Snapshot(soft_locks=(empty,), waits=(replace(POLLS, stuck=False),)))


def test_stale_lock_file_is_quiet_and_admits_blindness() -> None:
    for alive in (True, None):
        assert quiet(stale_lock_file, Snapshot(soft_locks=(replace(STALE, alive=alive),)))
