"""Databases in the wait chain: real clients of a real MariaDB, from their lock to their line of code."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Answer, diag, diag_as_nobody
from tests.support.interpreters import interpreter, packages
from tests.support.processes import running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Program
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live

PINS = {
    "pymysql": "PyMySQL==1.1.1",
    "MySQLdb": "mysqlclient==2.2.4",
    "connector": "mysql-connector-python==8.4.0",
}
CASES = "mysql_cases.py"


@contextmanager
def client(driver: str, case: str, address: object, *more: object) -> Iterator[Program]:
    """Run one case of the program under Python 3.11 with one driver."""
    python = interpreter("3.11")
    with running(python, CASES, case, driver, address, *more, path=packages(python, PINS[driver])) as program:
        yield program


def waiting(server: MariaDB) -> int:
    """How many sessions wait for a row or for a table, as the server says.

    InnoDB answers from its cache as long as it is asked more often than every 0.1 s.
    """
    time.sleep(0.15)
    rows = server.execute(
        "select (select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT') + "
        "(select count(*) from information_schema.processlist where state like 'Waiting for%metadata lock')"
    )
    return int(rows)


def until_found(code: str, *args: object, dsn: str, pid: int | None = None, tries: int = 4) -> Answer:
    """Look until a finding shows: one look at processes of a loaded machine may be torn."""
    answer = Answer(0, "", "", {})
    for _ in range(tries):
        answer = diag(*args, "--dsn", dsn)
        assert "geheim" not in answer.stdout + answer.stderr
        if code in answer.codes:
            break
    answer.found(code, pid)
    return answer


def program_line(finding: dict[str, Any]) -> str:
    where = finding["culprit"]["where"]
    assert where["file"].endswith("_cases.py")
    return str(where["function"])


@pytest.mark.parametrize("hops", [1, 2])
def test_why_of_who_waits_behind_relays_names_the_last_of_them(shop: MariaDB, hops: int) -> None:
    """Which of a relay's connections leads to which only the relay knows: it is named, and what it does."""
    with ExitStack() as stack:
        port, relays = shop.port, []
        for _ in range(hops):
            program = stack.enter_context(running(interpreter("3.11"), "tcp_relay.py", port))
            relays.append(program.pid)
            port = program.said["port"]
        holder = stack.enter_context(client("pymysql", "sleep", port))
        waiter = stack.enter_context(client("pymysql", "wait", port))
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        time.sleep(0.5)
        for pid in (waiter.pid, holder.pid, *relays):
            answer = until_found("D002", "why", pid, dsn=shop.dsn())
            assert answer.found("D002")["culprit"]["pid"] == relays[0]


@pytest.mark.parametrize(
    ("driver", "case", "unix", "words"),
    [
        ("pymysql", "sleep", True, "sleep"),
        ("MySQLdb", "sleep", False, "sleep"),
        ("connector", "sleep", False, "sleep"),
        ("pymysql", "call", False, "recv"),
    ],
)
def test_d002_what_the_client_does_meanwhile(
    shop: MariaDB, silent: int, driver: str, case: str, unix: bool, words: str
) -> None:
    address = shop.socket if unix else shop.port
    with ExitStack() as stack:
        holder = stack.enter_context(client(driver, case, address, *((silent,) if case == "call" else ())))
        waiter = stack.enter_context(client(driver, "wait", address))
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        time.sleep(0.5)
        answer = until_found("D002", "why", waiter.pid, dsn=shop.dsn(unix=unix), pid=holder.pid)
        finding = answer.found("D002", holder.pid)
        assert finding["confidence"] == "certain"
        assert words in finding["summary"]
        assert finding["victims"][0]["pid"] == waiter.pid
        assert finding["chain"][0]["waits_for"]["kind"] == "database-lock"
        assert program_line(finding)


def test_d002_a_file_lock_and_who_has_it(shop: MariaDB, tmp_path: Path) -> None:
    path = tmp_path / "report.lock"
    with ExitStack() as stack:
        import fcntl  # noqa: PLC0415 - the test itself has the lock

        file = stack.enter_context(path.open("w"))
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = stack.enter_context(client("pymysql", "flock", shop.port, path))
        waiter = stack.enter_context(client("pymysql", "wait", shop.port))
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        time.sleep(0.5)
        answer = until_found("D002", "why", waiter.pid, dsn=shop.dsn(), pid=holder.pid)
        assert "report.lock" in answer.found("D002", holder.pid)["summary"]


def test_d003_a_row_lock_and_a_file_lock_in_a_ring(shop: MariaDB, tmp_path: Path) -> None:
    path = tmp_path / "ring.lock"
    with ExitStack() as stack:
        one = stack.enter_context(client("pymysql", "ring", shop.port, path))
        other = stack.enter_context(client("MySQLdb", "flock", shop.port, path))
        wait_until(lambda: waiting(shop) == 1, "the ring closes")
        time.sleep(0.5)
        answer = until_found("D003", "why", one.pid, dsn=shop.dsn())
        finding = answer.found("D003", other.pid)
        assert (finding["severity"], finding["confidence"]) == ("critical", "certain")
        assert {link["waits_for"]["kind"] for link in finding["chain"]} == {"database-lock", "file-lock"}
        assert not {"D001", "D002", "L002", "P002"} & set(answer.codes)


def test_d004_an_open_select_an_alter_and_everybody_behind_it(shop: MariaDB) -> None:
    with ExitStack() as stack:
        reader = stack.enter_context(client("pymysql", "reader", shop.port))
        ddl = stack.enter_context(client("pymysql", "ddl", shop.port))
        wait_until(lambda: waiting(shop) == 1, "ALTER waits")
        select = stack.enter_context(client("MySQLdb", "select", shop.port))
        wait_until(lambda: waiting(shop) == 2, "SELECT waits behind it")
        time.sleep(0.5)
        answer = until_found("D004", "db", dsn=shop.dsn())
        finding = answer.found("D004", reader.pid)
        assert (finding["severity"], finding["confidence"]) == ("critical", "likely")
        assert "alter table user" in finding["summary"]
        assert {ddl.pid, select.pid} <= {victim["pid"] for victim in finding["victims"]}
        assert program_line(finding) == "forever" or program_line(finding) == "reader"


def test_a_prepared_transaction_that_nobody_owns(shop: MariaDB) -> None:
    with ExitStack() as stack:
        stack.enter_context(client("pymysql", "xa", shop.port))
        stack.enter_context(client("pymysql", "wait", shop.port))
        try:
            wait_until(lambda: waiting(shop) == 1, "one waits for the row")
            finding = until_found("D002", "db", dsn=shop.dsn()).found("D002")
            assert "prepared" in finding["summary"]
            assert "XA RECOVER" in finding["remedy"][0]
        finally:
            shop.execute("xa rollback 'left behind'")


def test_busy_clients_on_one_row_are_healthy(shop: MariaDB) -> None:
    with client("pymysql", "busy", shop.port, 30) as one, client("MySQLdb", "busy", shop.port):
        for start in ("why", one.pid), ("db",):
            answer = diag(*start, "--dsn", shop.dsn())
            assert (answer.code, answer.json["findings"], answer.json["gaps"]) == (0, [], []), answer


def test_a_slow_statement_is_no_idle_transaction(shop: MariaDB) -> None:
    with client("pymysql", "slow", shop.port, 600), client("pymysql", "wait", shop.port) as waiter:
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        answer = diag("why", waiter.pid, "--dsn", shop.dsn())
        assert not [code for code in answer.codes if code.startswith("D")], answer
        words = [thread["waits_for"]["words"] for thread in answer.json["why"]["threads"]]
        assert any("waits for the row lock on `shop`.`user`" in text for text in words), words


def test_without_a_dsn_a_gap_says_what_to_add(shop: MariaDB) -> None:
    with client("pymysql", "sleep", shop.port), client("pymysql", "wait", shop.port) as waiter:
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        for _ in range(4):
            answer = diag("why", waiter.pid)
            if answer.json["gaps"]:
                break
        assert answer.code == 4
        assert f"--dsn mysql://USER@127.0.0.1:{shop.port}/" in answer.json["gaps"][0]["hint"]


def test_a_recording_holds_no_password_and_gives_the_same_again(shop: MariaDB, tmp_path: Path) -> None:
    tape = tmp_path / "tape"
    with client("pymysql", "sleep", shop.port), client("pymysql", "wait", shop.port) as waiter:
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        time.sleep(0.5)
        recorded = diag(
            "record", "-o", tape, "--", "why", waiter.pid, "--dsn", shop.dsn(), "--format", "json",
            form="terminal",
        )  # fmt: skip
    again = diag("why", waiter.pid, "--replay", tape)
    assert again.stdout == recorded.stdout
    assert "database-lock" in again.stdout
    import zlib  # noqa: PLC0415 - only here

    data = tape.read_bytes()
    assert b"geheim" not in zlib.decompress(data[data.index(b"\n") + 1 :])


def test_stacks_say_whose_lock_a_thread_waits_for(shop: MariaDB) -> None:
    with client("pymysql", "sleep", shop.port) as holder, client("pymysql", "wait", shop.port) as waiter:
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        for _ in range(4):
            answer = diag("stacks", waiter.pid, "--dsn", shop.dsn())
            (thread,) = answer.json["stacks"]
            if thread["waits_for"]["resource"]["kind"] == "database-lock":
                break
        assert "row lock on `shop`.`user`" in thread["waits_for"]["words"]
        assert "balance - ? where id = ?" in thread["waits_for"]["words"]
        assert [actor["pid"] for actor in thread["waits_for"]["held_by"]] == [holder.pid]
        shown = diag("stacks", waiter.pid, "--dsn", shop.dsn(), "--locals")
        assert "balance - 5 where id = 1" in shown.json["stacks"][0]["waits_for"]["words"]


def test_who_may_not_see_the_client_is_told_so(shop: MariaDB) -> None:
    with client("pymysql", "sleep", shop.port), client("pymysql", "wait", shop.port):
        wait_until(lambda: waiting(shop) == 1, "one waits for the row")
        time.sleep(0.5)
        answer = diag_as_nobody("db", shop.dsn())
        finding = answer.found("D002")
        assert finding["confidence"] == "likely"
        assert finding["culprit"]["address"].startswith("127.0.0.1:")
        assert "run diag as root" in [gap["hint"] for gap in answer.json["gaps"]]
