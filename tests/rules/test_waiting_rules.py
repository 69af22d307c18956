"""The rules about threads and processes that wait: fires, stays quiet, admits blindness."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.facts import Evidence, Frame, Gap, Process, Stack, Thread, Where
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.graph import Actor, Hold, How, Resource, Wait
from diag.model.snapshot import SeenThread, Snapshot
from diag.rules import judge, rules
from diag.rules.chains import Graph
from diag.rules.one_cause import told_once

RULE = {rule.code: rule for rule in rules()}
LINE = Where(function="work", file="/srv/app.py", line=7)


def actor(pid: int, tid: int | None = None) -> Actor:
    return Actor(pid=pid, started=1, process="app", tid=tid, thread=f"t{tid}" if tid else None)


def process(pid: int, ppid: int = 1, threads: int = 1) -> Process:
    return Process(pid=pid, ppid=ppid, started=1, since=0.0, name="app", state="S", threads=threads)


def resource(kind: str, key: str, mode: str | None = None) -> Resource:
    return Resource(kind=kind, key=f"{kind}:{key}", name=f"{kind} {key}", mode=mode)


def wait(pid: int, tid: int, what: Resource, *holders: Actor, how: How = How.BLOCKED) -> Wait:
    return Wait(
        waiter=actor(pid, tid),
        resource=what,
        how=how,
        words=f"waits for {what.name}",
        where=LINE,
        holds=tuple(Hold(holder=holder, resource=what, taken_at=LINE) for holder in holders),
        stuck=how in (How.BLOCKED, How.TIMED),
        evidence=(Evidence(source=f"/proc/{pid}/task/{tid}/syscall", text="202 0x0"),),
    )


def seen(of: Process, made: Wait, *frames: Frame, gil: bool = False) -> SeenThread:
    tid = made.waiter.tid or of.pid
    stack = Stack(pid=of.pid, tid=tid, thread=None, frames=frames, owns_gil=gil)
    return SeenThread(
        process=of,
        thread=Thread(pid=of.pid, tid=tid, name="app", state="S"),
        stack=stack,
        wait=made,
        samples=2,
        moved=not made.stuck,
        others=(stack,),
    )


def snapshot(*threads: SeenThread, gaps: tuple[Gap, ...] = ()) -> Snapshot:
    processes = {thread.process.pid: thread.process for thread in threads}
    waits = tuple(thread.wait for thread in threads if thread.wait)
    return Snapshot(processes=tuple(processes.values()), threads=threads, waits=waits, gaps=gaps)


ONE = process(1, threads=2)
A, B = resource("thread-lock", "a"), resource("thread-lock", "b")
SLEEP = resource("sleep", "1")
SELECT = Frame(function="select", file="/usr/lib/python3.12/selectors.py", line=400)
ONCE = Frame(function="BaseEventLoop._run_once", file="/usr/lib/python3.12/asyncio/base_events.py", line=1)
USER = Frame(function="work", file="/srv/app.py", line=7)

ABBA = (seen(ONE, wait(1, 1, A, actor(1, 2))), seen(ONE, wait(1, 2, B, actor(1, 1))))
ALONE = (seen(ONE, wait(1, 1, A, actor(1, 1))),)
PARENT, CHILD = process(1), process(2, ppid=1)
PIPE_WRITE, PIPE_READ = resource("pipe", "p", "write"), resource("pipe", "q", "read")
FULL = (
    seen(PARENT, wait(1, 1, resource("child", "2"), actor(2))),
    seen(CHILD, wait(2, 2, PIPE_WRITE, actor(1))),
)
CALLS = (
    seen(PARENT, wait(1, 1, resource("socket", "s", "read"), actor(2))),
    seen(CHILD, wait(2, 2, resource("socket", "t", "read"), actor(1))),
)
WORK = resource("queued-work", "pool")
POOL = tuple(seen(ONE, wait(1, tid, WORK, actor(1, 1), actor(1, 2))) for tid in (1, 2))
IMPORT = (
    seen(ONE, wait(1, 1, resource("thread", "2"), actor(1, 2))),
    seen(ONE, wait(1, 2, resource("module-lock", "m"), actor(1, 1))),
)


def left_locked() -> SeenThread:
    made = wait(2, 2, A, actor(2))
    return seen(CHILD, replace(made, holds=(replace(made.holds[0], inherited=True, taker=1),)))


def kept_open(*, awaited: bool = True) -> SeenThread:
    """A reader of a pipe that only who has inherited its other end has open; or a stranger to it."""
    made = replace(wait(1, 1, PIPE_READ, actor(2)), fd=5)
    return seen(PARENT, replace(made, holds=(replace(made.holds[0], inherited=awaited, taker=3),)))


def timed(threads: tuple[SeenThread, ...]) -> tuple[SeenThread, ...]:
    """The same, but each of them waits with a time limit."""
    return tuple(
        replace(thread, wait=thread.wait and replace(thread.wait, how=How.TIMED, stuck=True))
        for thread in threads
    )


def busy(threads: tuple[SeenThread, ...]) -> tuple[SeenThread, ...]:
    """The same, but the last of them did something between the two looks."""
    last = threads[-1]
    return (*threads[:-1], replace(last, moved=True, wait=last.wait and replace(last.wait, stuck=False)))


@pytest.mark.parametrize(
    ("kind", "fires"), [("thread-lock", True), ("task-end", True), ("database-lock", False)]
)
def test_t005_only_where_the_way_back_to_the_pool_is_inside_the_process(kind: str, *, fires: bool) -> None:
    worker = seen(ONE, wait(1, 2, resource(kind, "x"), actor(1, 1)))
    caller = seen(ONE, wait(1, 1, WORK, actor(1, 2)))
    assert isinstance(judge(RULE["T005"], snapshot(caller, worker)), Fired) is fires


UNSERVED = (
    seen(PARENT, wait(1, 1, resource("io", "39", "fuse"), actor(2))),
    seen(CHILD, wait(2, 2, resource("stopped", "2"))),
)
STOPPED = (
    seen(PARENT, wait(1, 1, PIPE_READ, actor(2))),
    seen(CHILD, wait(2, 2, resource("stopped", "2"))),
)
SHARED = (
    seen(PARENT, wait(1, 1, resource("child", "2"), actor(2))),
    seen(CHILD, wait(2, 2, resource("shared-lock", "/dev/shm/sem.x"), actor(1, 1))),
)
CASES = {
    "T001": (ABBA, busy(ABBA)),
    "T002": (ALONE, timed(ALONE)),
    "T003": ((left_locked(),), (seen(CHILD, wait(2, 2, A, actor(2, 3))),)),
    "T004": (
        (seen(ONE, wait(1, 1, resource("shared-lock", "/dev/shm/sem.x"))),),
        (seen(ONE, wait(1, 1, resource("shared-lock", "/dev/shm/sem.x"), actor(2))),),
    ),
    "T005": (POOL, busy(POOL)),
    "T006": (
        (seen(ONE, wait(1, 1, SLEEP, how=How.TIMED), USER, ONCE),),
        (seen(ONE, wait(1, 1, resource("epoll", "1"), how=How.TIMED), SELECT, ONCE),),
    ),
    "T007": (
        (seen(ONE, wait(1, 1, PIPE_READ), USER, gil=True),),
        (seen(ONE, wait(1, 1, PIPE_READ), USER),),
    ),
    "T008": (IMPORT, busy(IMPORT)),
    "T011": (SHARED, busy(SHARED)),
    "P001": (FULL, busy(FULL)),
    "P002": (CALLS, busy(CALLS)),
    "P004": (UNSERVED, busy(UNSERVED)),
    "P005": (STOPPED, busy(STOPPED)),
    "P006": ((kept_open(),), (kept_open(awaited=False),)),
    "P003": (
        (seen(ONE, wait(1, 1, PIPE_WRITE)),),
        (seen(ONE, replace(wait(1, 1, PIPE_WRITE), certain=False)),),
    ),
}


@pytest.mark.parametrize("code", CASES)
def test_fires_stays_quiet_and_admits_blindness(code: str) -> None:
    sick, fine = CASES[code]
    rule = RULE[code]
    fired = judge(rule, snapshot(*sick))
    assert isinstance(fired, Fired)
    assert len(fired.findings) == 1
    assert fired.findings[0].culprit is not None
    assert judge(rule, snapshot(*fine)) == Clear(code=code)
    gap = Gap(source="x", hides="y", reason="z", hint="w", blinds=frozenset({code}))
    assert judge(rule, snapshot(*fine, gaps=(gap,))) == Blind(code=code, gaps=(gap,))


@pytest.mark.parametrize("code", CASES)
def test_no_other_rule_claims_the_same(code: str) -> None:
    sick, _ = CASES[code]
    others = {
        other
        for other, rule in RULE.items()
        if other in CASES and isinstance(judge(rule, snapshot(*sick)), Fired)
    }
    # Who keeps the GIL in a read of its own pipe is both: nobody at the other end, nobody can run.
    assert others - {code} <= ({"P003"} if code == "T007" else set())


def test_a_timed_wait_is_no_proof_of_a_deadlock() -> None:
    assert judge(RULE["T001"], snapshot(*timed(ABBA))) == Clear(code="T001")


def test_what_was_inferred_is_not_certain() -> None:
    one, two = ABBA
    assert one.wait
    holds = tuple(replace(hold, certain=False) for hold in one.wait.holds)
    fired = judge(RULE["T001"], snapshot(replace(one, wait=replace(one.wait, holds=holds)), two))
    assert isinstance(fired, Fired)
    assert fired.findings[0].confidence is Confidence.LIKELY


def test_any_free_reader_ends_a_wait_for_a_pipe() -> None:
    reader = seen(process(3), wait(3, 3, SLEEP, how=How.RUNNING))
    parent, child = FULL
    assert child.wait
    more = Hold(holder=actor(3), resource=PIPE_WRITE)
    child = replace(child, wait=replace(child.wait, holds=(*child.wait.holds, more)))
    assert Graph(snapshot(parent, child, reader)).rings() == ()


def test_victims_are_counted_once_and_the_ring_is_one_cause() -> None:
    behind = tuple(seen(ONE, wait(1, tid, A, actor(1, 2))) for tid in range(3, 30))
    fired = judge(RULE["T001"], snapshot(*ABBA, *behind))
    assert isinstance(fired, Fired)
    assert len(fired.findings) == 1
    assert len(fired.findings[0].victims) == 1 + len(behind)


def test_a_fifo_that_waits_for_its_first_client_is_told_only_who_asks() -> None:
    opening = seen(ONE, replace(wait(1, 1, PIPE_READ), fd=-1))
    assert judge(RULE["P003"], snapshot(opening)) == Clear(code="P003")
    assert isinstance(judge(RULE["P003"], replace(snapshot(opening), roots=(1,))), Fired)


def test_the_shortest_way_round_is_the_cause_and_who_waits_behind_it_a_victim() -> None:
    main = seen(PARENT, wait(1, 1, A, actor(1, 3)))
    reporter = seen(PARENT, wait(1, 3, resource("child", "2"), actor(2)))
    child = seen(CHILD, wait(2, 2, PIPE_WRITE, actor(1)))
    fired = judge(RULE["P001"], snapshot(main, reporter, child))
    assert isinstance(fired, Fired)
    only = fired.findings[0]
    assert [link.waiter.tid for link in only.chain] == [3, 2]
    assert {victim.tid for victim in only.victims} == {2, 1}


def test_a_tracing_stop_is_certain_only_when_no_debugger_looks_as_long() -> None:
    client, peer = STOPPED
    assert peer.wait
    traced = replace(
        peer,
        process=replace(CHILD, state="t", tracer=9),
        thread=replace(peer.thread, state="t", last_ran=100.0),
        wait=replace(peer.wait, resource=resource("traced", "2")),
    )
    for now, sure in ((103.0, Confidence.LIKELY), (130.0, Confidence.CERTAIN)):
        fired = judge(RULE["P005"], replace(snapshot(client, traced), taken_at=now))
        assert isinstance(fired, Fired)
        assert fired.findings[0].confidence is sure
        assert "tracing stop by pid 9" in fired.findings[0].summary


def test_one_halted_process_is_one_finding_with_all_its_victims() -> None:
    client, peer = STOPPED
    other = seen(process(3), wait(3, 3, resource("io", "39", "fuse"), actor(2)))
    both = snapshot(client, other, peer)
    verdicts = told_once([judge(RULE[code], both) for code in ("P004", "P005")])
    [fired] = [verdict for verdict in verdicts if isinstance(verdict, Fired)]
    assert fired.code == "P004"
    assert {victim.pid for victim in fired.findings[0].victims} == {1, 3}
    assert Clear(code="P005") in verdicts
