from __future__ import annotations

import pytest

from diag.model.finding import Confidence, Library, Severity
from diag.rules import null_dereference, shared_connection
from tests.crashes.logs import MAIN, MAP, MYSQL, OTHER, START, celery, segfault
from tests.rules.crashes import finding, findings, quiet


def test_a_crash_in_the_client_outside_of_the_main_thread_is_likely_a_shared_connection() -> None:
    lines = [segfault(START + 3600 * hour, name="python", tid=hour + 6406, tail=MYSQL) for hour in range(4)]
    found = finding(shared_connection, *lines, celery(START + 3))
    assert (found.severity, found.confidence) == (Severity.CRITICAL, Confidence.LIKELY)
    assert found.culprit == Library(library="libmysqlclient.so.18.0.0", offset=0x10)
    for words in (
        "libmysqlclient.so.18.0.0",
        "0x10",
        "NULL+0x1b8",
        "not in the main thread",
        "hourly at minute 0",
        "shared",
    ):
        assert words in found.summary
    assert "exited with 'signal 11 (SIGSEGV)'" in found.evidence[-1].text


def test_the_task_that_was_lost_is_named() -> None:
    def lost(at: float, task: str) -> str:
        head = celery(at).partition("] ")[0]
        said = "WorkerLostError('Worker exited prematurely: signal 11 (SIGSEGV).')"
        return f"{head}] Task {task}[6d3b-{int(at)}] raised unexpected: {said}"

    lines = [segfault(START + 4000 * n, tid=n + 10, tail=MYSQL) for n in range(3)]
    told = [lost(START + 4000 * n + 3, "alarms.tasks.resolve" if n else "other.task") for n in range(3)]
    assert ", in task alarms.tasks.resolve (2 of 3)" in finding(shared_connection, *lines, *told).summary
    assert ", in task other.task:" in finding(shared_connection, lines[0], told[0]).summary
    assert ", in task" not in finding(shared_connection, *lines).summary


@pytest.mark.parametrize(
    "library",
    ["libmariadb.so.3", "libmysqlclient_r.so.16.0.0", "_mysql.cpython-311-x86_64-linux-gnu.so", "_mysql.so",
     "_mysql_connector.cpython-311-x86_64-linux-gnu.so",
     "libmariadb-0a1b2c3d.so.3", "_mariadb.cpython-312-x86_64-linux-gnu.so"],
)  # fmt: skip
def test_the_client_under_its_many_names(library: str) -> None:
    assert (
        finding(shared_connection, segfault(tail=f" in {library}[7f0000001000+2000]")).confidence
        is Confidence.LIKELY
    )


@pytest.mark.parametrize(("sp", "against"), [(MAIN, "the main thread"), (0xBFD1853C, "cannot be told")])
def test_in_the_main_thread_or_an_unknown_one_it_is_only_possible(sp: int, against: str) -> None:
    found = finding(shared_connection, segfault(sp=sp, tail=MYSQL))
    assert found.confidence is Confidence.POSSIBLE
    assert against in found.against[0]


def test_many_places_in_the_client_are_one_finding() -> None:
    found = finding(
        shared_connection,
        segfault(tail=MYSQL),
        segfault(START + 9, tail=MYSQL),
        segfault(START + 50, ip=0x7F0000001020, tail=MYSQL),
        segfault(START + 99, ip=0x7F0000001030, tail=MYSQL),
    )
    assert "2 times, and 2 times at 2 other places of it" in found.summary


def test_a_line_that_another_program_wrote_proves_nothing() -> None:
    forged = segfault(tail=MYSQL).replace("kernel: [ 1000.000000] ", "webapp[12]: ")
    found = finding(shared_connection, forged)
    assert found.confidence is Confidence.POSSIBLE
    assert "written by webapp" in found.against[-1]


def test_other_libraries_and_jumps_past_the_client_are_not_its_fault() -> None:
    assert quiet(shared_connection, segfault(), segfault(tail=" in libmysqlthing.so[7f0000001000+2000]"))
    assert quiet(shared_connection, segfault(address=0, ip=0, error=0x14, tail=MYSQL))
    assert quiet(shared_connection, celery(START))


def test_the_null_pointer_in_the_client_is_told_below_its_cause() -> None:
    lines = [segfault(sp=OTHER, tail=MYSQL), segfault(START + 5, sp=OTHER, tail=MAP)]
    assert [found.severity for found in findings(null_dereference, *lines)] == [
        Severity.INFO,
        Severity.WARNING,
    ]


CLIENT = '  File "/venv/lib/python3.11/site-packages/MySQLdb/connections.py", line 280 in query'
TASK = '  File "/app/tasks.py", line 51 in update'
START_OF_IT = '  File "/app/tasks.py", line 65 in task'
DIED = "Fatal Python error: Segmentation fault"


def dump(*threads: list[str]) -> list[str]:
    return [DIED, *(line for thread in threads for line in ("", *thread))]


def thread(number: int, *frames: str, current: bool = False) -> list[str]:
    return [f"{'Current thread' if current else 'Thread'} 0x{number:016x} (most recent call first):", *frames]


def test_the_interpreters_own_words_of_a_crash_in_the_client() -> None:
    lines = dump(thread(2, CLIENT, TASK, current=True), thread(3, CLIENT, TASK), thread(1, START_OF_IT))
    found = finding(shared_connection, *lines)
    assert found.confidence is Confidence.LIKELY
    assert found.culprit == Library(library="MySQLdb", symbol="query")
    for words in ("MySQLdb", "not in the main thread", "called from update (/app/tasks.py:51)", "shared"):
        assert words in found.summary
    # Threads are written newest first: the last one is the main thread.
    main = finding(shared_connection, *dump(thread(2, TASK), thread(1, CLIENT, TASK, current=True)))
    assert main.confidence is Confidence.POSSIBLE


@pytest.mark.parametrize(
    "lines",
    [
        dump(thread(2, TASK, current=True), thread(3, CLIENT, TASK)),  # somebody else was in the client
        dump(thread(2, CLIENT.replace("MySQLdb", "pymysql"), TASK, current=True), thread(1, START_OF_IT)),
        ["Fatal Python error: Cannot recover from stack overflow.", *thread(2, TASK, current=True)],
    ],
)
def test_dumps_that_point_to_no_client(lines: list[str]) -> None:
    assert quiet(shared_connection, *lines)
