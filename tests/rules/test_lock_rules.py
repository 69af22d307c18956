"""L001 to L006: from waits and holds to the one cause."""

from __future__ import annotations

import pytest

from diag.model.facts import Where
from diag.model.finding import Confidence, Severity
from diag.model.graph import Actor, Handler, How
from diag.rules import (
    idle_holder,
    inherited_lock,
    lock_cycle,
    self_deadlock,
    stopped_holder,
    stuck_holder,
)
from tests.rules.lock_world import (
    LINE,
    actor,
    finding,
    findings,
    hold,
    process,
    quiet,
    resource,
    seen,
    wait,
    world,
)

ALL = (self_deadlock, lock_cycle, inherited_lock, stopped_holder, stuck_holder, idle_holder)
A, B = resource("a"), resource("b")


def codes(*waits: object, **more: object) -> list[str]:
    snapshot = world(*waits, **more)  # type: ignore[arg-type]
    return [found.code for module in ALL for found in findings(module, snapshot)]


# ---- L001


def test_a_thread_that_waits_for_what_it_holds() -> None:
    sender = Actor(pid=9, started=1, process="master")
    handler = Handler(name="SIGTERM handler", where=LINE, sender=sender)
    mine = hold(5, tid=5)
    snapshot = world(wait(5, mine, handler=handler, retaken=LINE), wait(6, mine), wait(7, mine))
    found = finding(self_deadlock, snapshot)
    assert (found.severity, found.confidence) == (Severity.CRITICAL, Confidence.CERTAIN)
    assert isinstance(found.culprit, Actor)
    assert found.culprit.pid == 5
    assert [victim.pid for victim in found.victims] == [6, 7]
    assert "SIGTERM handler" in found.summary
    assert "pid 9 (master) keeps sending" in found.summary
    assert not any(findings(module, snapshot) for module in ALL[1:])


def test_another_thread_of_the_process_that_works_may_still_release_it() -> None:
    busy = process(5, threads=2)
    waits = wait(5, hold(5))
    threads = (seen(busy, waits), seen(busy, tid=6, moved=True))
    assert codes(waits, threads=threads) == ["L006"]
    known = wait(5, hold(5, tid=6))
    found = finding(idle_holder, world(known, threads=threads))
    assert isinstance(found.culprit, Actor)
    assert found.culprit.tid == 6


@pytest.mark.parametrize(
    ("exe", "sure"), [("/usr/bin/python3.11", Confidence.LIKELY), ("/usr/bin/backup", Confidence.CERTAIN)]
)
def test_a_python_holder_whose_stack_is_hidden_may_wait_itself(exe: str, sure: Confidence) -> None:
    sleeps = wait(5, of=resource("s", "sleep"), how=How.TIMED, stuck=False)
    threads = (seen(process(5, exe=exe), sleeps),)
    found = finding(idle_holder, world(wait(6, hold(5)), threads=threads))
    assert found.confidence is sure
    assert any("could not be read" in line for line in found.against) == (sure is Confidence.LIKELY)


def test_idle_threads_beside_it_do_not_excuse_it() -> None:
    busy = process(5, threads=2)
    waits = wait(5, hold(5))
    idle = wait(5, tid=6, of=resource("q", "queue"), how=How.IDLE, stuck=False)
    assert codes(waits, idle, threads=(seen(busy, waits), seen(busy, idle, tid=6))) == ["L001"]


def test_a_descriptor_shared_with_the_taker_is_no_self_deadlock() -> None:
    """A forked child has its parent's descriptor; the parent can release the lock."""
    assert codes(wait(6, hold(5), hold(6, passive=True))) == ["L006"]


def test_self_deadlock_is_quiet_and_admits_blindness() -> None:
    assert quiet(self_deadlock, world(wait(6, hold(5))))
    assert quiet(self_deadlock, world(wait(5, hold(5), stuck=False)))


# ---- L002


def test_a_ring_of_two_is_one_finding_from_whichever_end() -> None:
    snapshot = world(wait(5, hold(6, B)), wait(6, hold(5, A)), wait(7, hold(5, A)))
    found = finding(lock_cycle, snapshot)
    assert found.confidence is Confidence.CERTAIN
    assert {link.waiter.pid for link in found.chain} == {5, 6}
    assert 7 in {victim.pid for victim in found.victims}
    assert not any(findings(module, snapshot) for module in ALL if module is not lock_cycle)


def test_a_ring_through_a_child_and_a_time_limit() -> None:
    child = hold(6, resource("c", "child"))
    ring = (wait(5, child), wait(6, hold(5, A)))
    assert finding(lock_cycle, world(*ring)).severity is Severity.CRITICAL
    timed = (wait(5, child, how=How.TIMED), ring[1])
    found = finding(lock_cycle, world(*timed))
    assert (found.severity, found.confidence) == (Severity.WARNING, Confidence.LIKELY)


def test_of_several_readers_the_one_in_the_ring_is_the_cause() -> None:
    assert codes(wait(5, hold(8, B), hold(6, B)), wait(6, hold(5, A))) == ["L002"]


def test_of_several_who_could_write_to_a_pipe_one_that_works_is_enough() -> None:
    pipe = resource("p", "pipe")
    assert codes(wait(5, hold(6, pipe), hold(7, pipe)), wait(6, hold(5, A))) == ["L005"]


def test_lock_cycle_is_quiet_and_admits_blindness() -> None:
    assert quiet(lock_cycle, world(wait(5, hold(6, B)), wait(7, hold(5, A))))


# ---- L003


def test_a_keeper_that_inherited_the_lock() -> None:
    found = finding(inherited_lock, world(wait(6, hold(5, taker=4, inherited=True))))
    assert isinstance(found.culprit, Actor)
    assert found.culprit.pid == 5
    assert found.confidence is Confidence.CERTAIN
    assert "pid 4, which took it, is gone" in found.summary
    alive = hold(5, taker=4, taker_lives=True, inherited=True)
    assert "no longer has it open" in finding(inherited_lock, world(wait(6, alive))).summary


def test_who_took_it_is_unknown_in_a_container() -> None:
    found = finding(inherited_lock, world(wait(6, hold(5, inherited=True))))
    assert found.confidence is Confidence.LIKELY


def test_inherited_lock_is_quiet_and_admits_blindness() -> None:
    assert quiet(inherited_lock, world(wait(6, hold(5))))
    assert quiet(inherited_lock, world(wait(6, hold(5, taker=4))))  # flock(1) took it for its shell


# ---- L004


def test_a_stopped_holder_of_two_locks_is_one_cause() -> None:
    stopped = process(5, "T")
    snapshot = world(wait(6, hold(5, A)), wait(7, hold(5, B)), threads=(seen(stopped),))
    found = finding(stopped_holder, snapshot)
    assert {victim.pid for victim in found.victims} == {6, 7}
    assert "stopped (SIGSTOP" in found.summary
    assert "kill -CONT 5" in found.remedy[0]
    frozen = process(5, frozen=True, cgroup="0::/box")
    assert "frozen" in finding(stopped_holder, world(wait(6, hold(5)), threads=(seen(frozen),))).summary


def test_a_traced_holder_that_goes_on_is_not_stopped() -> None:
    traced = process(5, "t", tracer=99)
    assert quiet(stopped_holder, world(wait(6, hold(5)), threads=(seen(traced, moved=True),)))
    assert findings(stopped_holder, world(wait(6, hold(5)), threads=(seen(traced),)))


# ---- L005 and L006


def test_a_holder_that_waits_for_something_else() -> None:
    socket = wait(5, of=resource("s", "socket"))
    snapshot = world(wait(6, hold(5)), socket, threads=(seen(process(5), socket),))
    found = finding(stuck_holder, snapshot)
    assert isinstance(found.culprit, Actor)
    assert found.culprit.pid == 5
    assert found.severity is Severity.CRITICAL
    assert not findings(idle_holder, snapshot)
    brief = wait(5, of=resource("s", "socket"), stuck=False)
    assert codes(wait(6, hold(5)), brief, threads=(seen(process(5), brief),)) == ["L006"]


def test_a_timed_wait_at_the_end_is_a_warning() -> None:
    socket = wait(5, of=resource("s", "socket"), how=How.TIMED)
    found = finding(stuck_holder, world(wait(6, hold(5)), socket))
    assert (found.severity, found.confidence) == (Severity.WARNING, Confidence.LIKELY)


def test_chains_to_one_end_are_one_finding() -> None:
    snapshot = world(wait(7, hold(6, A)), wait(6, hold(5, B)), wait(8, hold(5, B)))
    found = finding(stuck_holder, snapshot)
    assert isinstance(found.culprit, Actor)
    assert found.culprit.pid == 5
    assert {victim.pid for victim in found.victims} == {6, 7, 8}
    assert not findings(idle_holder, snapshot)


def test_a_ring_of_locks_in_memory_behind_a_file_lock_is_the_holders_own_affair() -> None:
    mutex = resource("m", "futex")
    assert codes(wait(6, hold(5)), wait(5, hold(5, mutex, tid=5))) == ["L005"]


def test_what_may_not_be_seen_of_the_holder_is_no_stuck_wait() -> None:
    unknown = wait(5, of=resource("u", "unknown"))
    snapshot = world(wait(6, hold(5, certain=False)), unknown, threads=(seen(process(5), unknown),))
    found = finding(idle_holder, snapshot)
    assert found.confidence is Confidence.LIKELY
    assert any("hidden" in line for line in found.against)


def test_a_poller_makes_it_no_more_than_likely_where_it_was_inferred() -> None:
    polled = wait(
        6, hold(5, taken_at=Where(function="f", file="/a.py", line=3)), how=How.POLLING, certain=False
    )
    found = finding(idle_holder, world(polled))
    assert (found.severity, found.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert "taken at a.py:3" in found.summary


def test_idle_and_stuck_holder_are_quiet_and_admit_blindness() -> None:
    brief = world(wait(6, hold(5), stuck=False))
    assert quiet(idle_holder, brief)
    assert quiet(stuck_holder, brief)
    assert quiet(stuck_holder, world(wait(6, hold(5))))
    assert codes(wait(6, of=A)) == []  # nobody visible holds it


def test_two_hundred_readers_that_wait_for_each_other_are_followed_in_time() -> None:
    crowd = [hold(pid, A) for pid in range(100, 160)]
    waits = [wait(pid, *crowd, of=A) for pid in range(200, 260)]
    waits += [wait(pid, *(hold(other, B) for other in range(100, 160)), of=B) for pid in range(100, 110)]
    assert codes(*waits)


def test_the_holder_is_named_once() -> None:
    snapshot = world(wait(6, hold(5, A)), wait(7, hold(5, B)))
    found = finding(idle_holder, snapshot)
    assert found.culprit == actor(5)
    assert "(and flock on /run/b.lock)" in found.summary
