"""C001 before any crash: fires, stays quiet, admits blindness."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from diag.model.facts import Frame, Gap, Local, Process, Stack, Syscall, Thread
from diag.model.finding import Blind, Clear, Confidence, Fired
from diag.model.graph import Actor, How, Resource, Wait
from diag.model.snapshot import SeenThread, Snapshot
from diag.rules import Rule, judge, shared_connection
from diag.rules.database_clients import client_of_file, client_of_type, handle_kind
from diag.rules.shared_connection_live import suspects

RULE = Rule(shared_connection.CODE, shared_connection.SLUG, shared_connection.check)
PROCESS = Process(pid=10, ppid=1, started=5, since=0.0, name="worker", state="S")
SITE = "/srv/venv/lib/python3.11/site-packages"
SHARED = 0x7F00


def stack(
    tid: int, address: int, *, file: str = f"{SITE}/MySQLdb/cursors.py", type_name: str = "Cursor"
) -> Stack:
    handle = Local(name="self", value=f"<{type_name} at {address:#x}>", address=address, argument=True)
    inside = Frame(function="execute", file=file, line=179, locals=(handle,))
    app = Frame(function="update", file="/srv/app.py", line=40, locals=(handle,))
    return Stack(pid=10, tid=tid, thread=f"alarm-{tid}", frames=(inside, app))


def seen(one: Stack, kind: str = "socket", *, others: tuple[Stack, ...] = ()) -> SeenThread:
    actor = Actor(pid=10, started=5, process="worker", tid=one.tid, thread=one.thread)
    wait = Wait(
        waiter=actor,
        resource=Resource(kind=kind, key=f"{kind}:{one.tid}", name="x"),
        how=How.BLOCKED,
        words="recv from 10.0.0.5:3306 (MySQL)",
    )
    thread = Thread(pid=10, tid=one.tid or 0, name="t", state="S")
    return SeenThread(process=PROCESS, thread=thread, stack=one, wait=wait, others=others)


def snapshot(*threads: SeenThread, gaps: tuple[Gap, ...] = ()) -> Snapshot:
    return Snapshot(processes=(PROCESS,), threads=threads, gaps=gaps)


def test_fires_on_one_handle_in_two_threads() -> None:
    found = snapshot(seen(stack(11, SHARED)), seen(stack(12, SHARED), "gil"), seen(stack(13, 0x8000)))
    verdict = judge(RULE, found)
    assert isinstance(verdict, Fired)
    (finding,) = verdict.findings
    assert finding.confidence is Confidence.LIKELY
    assert finding.against
    assert [victim.tid for victim in finding.victims] == [11, 12]
    assert suspects(found) == (10,)


def test_a_second_sample_makes_it_certain() -> None:
    again = (stack(11, SHARED),), (stack(12, SHARED),)
    threads = [seen(stack(tid, SHARED), others=others) for tid, others in zip((11, 12), again, strict=True)]
    verdict = judge(RULE, snapshot(*threads))
    assert isinstance(verdict, Fired)
    assert verdict.findings[0].confidence is Confidence.CERTAIN
    handed_over = (seen(stack(11, SHARED), others=(stack(11, SHARED),)), seen(stack(12, SHARED)))
    verdict = judge(RULE, snapshot(*handed_over))
    assert isinstance(verdict, Fired)
    assert verdict.findings[0].confidence is Confidence.LIKELY


def own_each() -> Snapshot:
    return snapshot(seen(stack(11, SHARED)), seen(stack(12, 0x8000)))


def lent_under_a_lock() -> Snapshot:
    """One is inside; the other waits for a lock, whether the program's or the client's own."""
    return snapshot(seen(stack(11, SHARED)), seen(stack(12, SHARED), "futex"))


PYMYSQL = f"{SITE}/pymysql/connections.py"
PSYCOPG = f"{SITE}/psycopg/cursor.py"


@pytest.mark.parametrize(("file", "type_name"), [(PYMYSQL, "Connection"), (PSYCOPG, "Cursor")])
def test_a_lock_inside_the_client_keeps_nobody_out_of_what_it_reads(file: str, type_name: str) -> None:
    both = [stack(tid, SHARED, file=file, type_name=type_name) for tid in (11, 12)]
    assert isinstance(judge(RULE, snapshot(seen(both[0]), seen(both[1], "futex"))), Fired)
    waiting = snapshot(*(seen(one, "futex") for one in both))  # nobody is at work: nothing is shared yet
    assert judge(RULE, waiting) == Clear(code="C001")


@pytest.mark.parametrize(("operation", "value", "fires"), [(0x80, 2, True), (0x189, 0, False)])
def test_a_cursor_of_c_code_behind_a_mutex_is_shared_behind_a_lock_of_python_not(
    operation: int, value: int, *, fires: bool
) -> None:
    handle = Local(name="cursor", value=f"<psycopg2.extensions.cursor at {SHARED:#x}>", address=SHARED)
    frame = Frame(function="query", file="/srv/app.py", line=40, locals=(handle,))
    call = Syscall(number=202, name="futex", arguments=(0x7F1000, operation, value, 0, 0, 0))
    threads = []
    for tid, kind in ((11, "socket"), (12, "futex")):
        one = seen(Stack(pid=10, tid=tid, thread=f"t-{tid}", frames=(frame,)), kind)
        threads.append(replace(one, thread=replace(one.thread, syscall=call)))
    assert isinstance(judge(RULE, snapshot(*threads)), Fired) is fires


def pool() -> Snapshot:
    both = [
        stack(tid, SHARED, file=f"{SITE}/mysql/connector/pooling.py", type_name="ConnectionPool")
        for tid in (11, 12)
    ]
    return snapshot(*map(seen, both))


def client_that_locks_itself() -> Snapshot:
    both = [
        stack(tid, SHARED, file=f"{SITE}/psycopg/connection.py", type_name="Connection") for tid in (11, 12)
    ]
    return snapshot(*map(seen, both))


def another_kind_of_connection() -> Snapshot:
    both = [stack(tid, SHARED, file="/srv/net.py", type_name="Connection") for tid in (11, 12)]
    return snapshot(*map(seen, both))


@pytest.mark.parametrize(
    "healthy",
    [own_each, lent_under_a_lock, pool, client_that_locks_itself, another_kind_of_connection, snapshot],
)
def test_stays_quiet(healthy: object) -> None:
    assert callable(healthy)
    assert judge(RULE, healthy()) == Clear(code="C001")


def test_admits_blindness() -> None:
    gap = Gap(source="py-spy", hides="stacks", reason="denied", hint="sudo", blinds=frozenset({"C001"}))
    assert judge(RULE, snapshot(gaps=(gap,))) == Blind(code="C001", gaps=(gap,))


def test_all_c_clients_are_known_by_their_types() -> None:
    both = [stack(tid, SHARED, file="/srv/app.py", type_name="pyodbc.Cursor") for tid in (11, 12)]
    assert isinstance(judge(RULE, snapshot(*map(seen, both))), Fired)


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("Connection", "connection"), ("MySQLConnection", "connection"), ("CMySQLConnection", "connection"),
        ("MySQLdb._mysql.connection", "connection"), ("SSCursor", "cursor"), ("DictCursor", "cursor"),
        ("ConnectionPool", None), ("PooledMySQLConnectionProxy", None), ("Thread", None), ("str", None),
    ],
)  # fmt: skip
def test_handles(type_name: str, kind: str | None) -> None:
    assert handle_kind(type_name) == kind


def test_clients() -> None:
    found = client_of_file(f"{SITE}/pymysql/connections.py")
    assert found
    assert found.name == "PyMySQL"
    assert client_of_file("/srv/mypymysql/x.py") is None
    of_type = client_of_type("MySQLdb._mysql.connection")
    assert of_type
    assert of_type.name == "MySQLdb"
    assert client_of_type("Connection") is None
