"""PostgreSQL in the wait chain: real clients of a real server, from their lock to their line of code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.certificates import self_signed
from tests.support.cli import NOBODY, Answer, diag, diag_as_nobody
from tests.support.interpreters import interpreter, packages
from tests.support.locked import ROOT
from tests.support.processes import running, wait_until
from tests.support.relay import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.postgres import PostgreSQL
    from tests.support.processes import Program

pytestmark = pytest.mark.live

PINS = {"psycopg": "psycopg[binary]==3.2.3", "psycopg2": "psycopg2-binary==2.9.9"}
CASES = "postgres_cases.py"


@pytest.fixture
def shop(postgres_shop: PostgreSQL) -> PostgreSQL:
    """The server of these tests."""
    return postgres_shop


@contextmanager
def client(
    server: PostgreSQL, case: str, *more: object, driver: str = "psycopg", unix: bool = False
) -> Iterator[Program]:
    """Run one case of the program under Python 3.11 with one driver."""
    python = interpreter("3.11")
    host = server.directory if unix else "127.0.0.1"
    path = packages(python, PINS[driver])
    with running(python, CASES, case, driver, host, server.port, *more, path=path) as program:
        yield program


def until_waiting(server: PostgreSQL, count: int) -> None:
    """Wait until so many sessions wait for a lock, and whoever holds it has been silent for a while."""
    query = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' "
        "and query_start < now() - interval '0.8 s'"
    )
    wait_until(lambda: int(server.execute(query)) == count, f"{count} sessions wait")


def until_found(code: str, *args: object, dsn: str, pid: int | None = None) -> dict[str, Any]:
    """Look until a finding shows: one look at processes of a loaded machine may be torn."""
    answer = Answer(0, "", "", {})
    for _ in range(4):
        answer = diag(*args, "--dsn", dsn)
        assert "geheim" not in answer.stdout + answer.stderr
        if code in answer.codes:
            break
    finding = answer.found(code, pid)
    # Literals are masked: the balance and the id of a customer are nobody's business.
    assert "id = 1" not in json.dumps(answer.json["findings"])
    # The tests' own process has a session, too: what its idle threads do is no part of the story.
    assert not [gap for gap in answer.json["gaps"] if f"pid {os.getpid()} " not in gap["hides"]], answer
    return {**finding, "codes": answer.codes}


def function(finding: dict[str, Any]) -> str:
    where = finding["culprit"]["where"]
    assert where["file"].endswith("_cases.py")
    return str(where["function"])


@pytest.mark.parametrize(("driver", "unix"), [("psycopg", False), ("psycopg2", True)])
def test_d002_idle_in_transaction_in_a_sleep(shop: PostgreSQL, driver: str, unix: bool) -> None:
    with (
        client(shop, "sleep", driver=driver, unix=unix) as holder,
        client(shop, "wait", driver=driver, unix=unix) as waiter,
    ):
        until_waiting(shop, 1)
        for start in ("why", waiter.pid), ("db",):
            finding = until_found("D002", *start, dsn=shop.dsn(unix=unix), pid=holder.pid)
            assert finding["confidence"] == "certain"
            assert "row lock on public.account" in finding["summary"]
            assert "sleep" in finding["summary"]
            assert [victim["pid"] for victim in finding["victims"]] == [waiter.pid]
            assert function(finding) == "forever"
            assert "pg_terminate_backend" in finding["remedy"][0]
            assert {"pg_locks", "pg_stat_activity"} <= {item["source"] for item in finding["evidence"]}


@pytest.mark.parametrize(("driver", "unix"), [("psycopg", True), ("psycopg2", False)])
def test_d001_a_commit_is_queued_behind_the_updates_of_its_own_pool(
    shop: PostgreSQL, driver: str, unix: bool
) -> None:
    with client(shop, "pool", 4, 30, driver=driver, unix=unix) as program:
        until_waiting(shop, 4)
        finding = until_found("D001", "why", program.pid, dsn=shop.dsn(), pid=program.pid)
        assert finding["severity"] == "critical"
        assert "all 4 workers" in finding["summary"]
        assert finding["codes"] == ["D001"]


@pytest.mark.parametrize(
    ("driver", "unix", "more"),
    [("psycopg", False, ()), ("psycopg2", True, ("event",))],
    ids=["queue", "event"],
)
def test_d001_a_pool_that_is_no_executor(
    shop: PostgreSQL, driver: str, unix: bool, more: tuple[str, ...]
) -> None:
    with client(shop, "homemade", 4, 30, *more, driver=driver, unix=unix) as program:
        until_waiting(shop, 4)
        finding = until_found("D001", "db", dsn=shop.dsn(), pid=program.pid)
        assert finding["confidence"] == "likely"
        assert not {"D002", "D003"} & set(finding["codes"])


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_d001_a_proxy_whose_executor_is_full(shop: PostgreSQL, driver: str) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(client(shop, "proxy", 4))
        users = stack.enter_context(client(through(shop, proxy), "clients", 30, driver=driver))
        until_waiting(shop, 4)
        for start in ("why", proxy.pid), ("db",):
            finding = until_found("D001", *start, dsn=shop.dsn())
            assert finding["confidence"] == "likely"
            assert users.pid in {victim["pid"] for victim in finding["victims"]}
            assert "D002" not in finding["codes"]


def test_d002_through_a_proxy_whose_client_sleeps_is_no_saturated_pool(shop: PostgreSQL) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(client(shop, "proxy", 2))
        stack.enter_context(client(through(shop, proxy), "sleep"))
        stack.enter_context(client(through(shop, proxy), "clients", 8))
        until_waiting(shop, 2)
        finding = until_found("D002", "db", dsn=shop.dsn(), pid=proxy.pid)
        assert "D001" not in finding["codes"]


def through(server: PostgreSQL, proxy: Program) -> PostgreSQL:
    """The same server as programs reach it by a proxy."""
    return server._replace(port=int(proxy.said["port"]))


def test_d002_idle_in_transaction_in_a_call(shop: PostgreSQL, silent: int) -> None:
    with client(shop, "call", silent, driver="psycopg2") as holder, client(shop, "wait"):
        until_waiting(shop, 1)
        finding = until_found("D002", "db", dsn=shop.dsn(), pid=holder.pid)
        assert "recv from" in finding["summary"]
        assert function(finding) == "call"


def test_d004_lock_table_and_the_queue_behind_it(shop: PostgreSQL) -> None:
    with ExitStack() as stack:
        holder = stack.enter_context(client(shop, "sleep", unix=True))
        taker = stack.enter_context(client(shop, "lock-table", driver="psycopg2"))
        until_waiting(shop, 1)
        reader = stack.enter_context(client(shop, "select"))
        until_waiting(shop, 2)
        finding = until_found("D004", "db", dsn=shop.dsn(), pid=holder.pid)
        assert "access exclusive" in finding["summary"]
        assert {victim["pid"] for victim in finding["victims"]} == {taker.pid, reader.pid}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_d003_a_row_lock_and_a_file_lock_in_a_ring(shop: PostgreSQL, tmp_path: Path, driver: str) -> None:
    path = tmp_path / "ring.lock"
    with (
        client(shop, "ring", path, driver=driver) as one,
        client(shop, "flock", path, driver=driver, unix=True) as other,
    ):
        until_waiting(shop, 1)
        finding = until_found("D003", "why", one.pid, dsn=shop.dsn(), pid=other.pid)
        assert finding["confidence"] == "certain"
        assert finding["codes"] == ["D003"]


def test_d004_an_open_select_an_alter_and_everybody_behind_it(shop: PostgreSQL) -> None:
    with ExitStack() as stack:
        reader = stack.enter_context(client(shop, "reader", unix=True))
        ddl = stack.enter_context(client(shop, "ddl", driver="psycopg2"))
        until_waiting(shop, 1)
        select = stack.enter_context(client(shop, "select"))
        until_waiting(shop, 2)
        finding = until_found("D004", "db", dsn=shop.dsn(), pid=reader.pid)
        assert (finding["severity"], finding["confidence"]) == ("critical", "certain")
        assert "alter table account" in finding["summary"]
        assert {victim["pid"] for victim in finding["victims"]} == {ddl.pid, select.pid}
        assert function(finding) == "forever"
        assert "D002" not in finding["codes"]


def test_an_advisory_lock_whose_holder_is_in_no_transaction(shop: PostgreSQL) -> None:
    with client(shop, "advisory", unix=True) as holder, client(shop, "advise") as waiter:
        until_waiting(shop, 1)
        finding = until_found("D002", "why", waiter.pid, dsn=shop.dsn(), pid=holder.pid)
        assert "advisory lock 4711" in finding["summary"]
        assert "ends the session" in finding["remedy"][0]


def test_a_prepared_transaction_that_nobody_owns(shop: PostgreSQL) -> None:
    with client(shop, "prepared", driver="psycopg2"), client(shop, "wait"):
        try:
            until_waiting(shop, 1)
            finding = until_found("D002", "db", dsn=shop.dsn())
            assert "prepared transaction 'left behind'" in finding["summary"]
            assert "ROLLBACK PREPARED or COMMIT PREPARED 'left behind'" in finding["remedy"][0]
        finally:
            shop.execute("rollback prepared 'left behind'")


def test_busy_clients_on_one_row_are_healthy(shop: PostgreSQL) -> None:
    with client(shop, "busy", unix=True) as one, client(shop, "busy", driver="psycopg2"):
        for start in ("why", one.pid), ("db",):
            answer = diag(*start, "--dsn", shop.dsn())
            assert (answer.code, answer.json["findings"], answer.json["gaps"]) == (0, [], []), answer


def test_a_slow_statement_is_no_idle_transaction(shop: PostgreSQL) -> None:
    with client(shop, "slow", 600), client(shop, "wait") as waiter:
        until_waiting(shop, 1)
        answer = diag("why", waiter.pid, "--dsn", shop.dsn())
        assert not [code for code in answer.codes if code.startswith("D")], answer
        words = [thread["waits_for"]["words"] for thread in answer.json["why"]["threads"]]
        assert any("waits for the row lock on public.account" in text for text in words), words


def test_who_may_not_see_the_client_is_told_so(shop: PostgreSQL) -> None:
    with client(shop, "sleep"), client(shop, "wait"):
        until_waiting(shop, 1)
        answer = diag_as_nobody("db", shop.dsn())
        assert answer.found("D002")["culprit"]["address"].startswith("127.0.0.1:")
        assert "run diag as root" in [gap["hint"] for gap in answer.json["gaps"]]


# --- servers that cannot be asked -------------------------------------------------------------------


def only_gap(answer: Answer) -> dict[str, str]:
    assert answer.code == 4, answer
    assert "geheim" not in answer.stdout + answer.stderr
    assert len(answer.json["gaps"]) == 1, answer
    gap: dict[str, str] = answer.json["gaps"][0]
    return gap


def test_a_login_without_the_privilege_gets_the_exact_grant(shop: PostgreSQL) -> None:
    with client(shop, "sleep"), client(shop, "wait"):
        until_waiting(shop, 1)
        answer = diag("db", shop.dsn("blind:geheim"))
        assert not [code for code in answer.codes if code.startswith("D")], answer
        gap = only_gap(answer)
        assert gap["hint"] == "GRANT pg_read_all_stats TO blind;"
        shop.execute(gap["hint"])
        try:
            assert until_found("D002", "db", dsn=shop.dsn("blind:geheim"))
        finally:
            shop.execute("revoke pg_read_all_stats from blind")


def test_a_wrong_password(shop: PostgreSQL) -> None:
    gap = only_gap(diag("db", shop.dsn("diag:geheimnis")))
    assert "authentication failed" in gap["reason"]
    assert "PGPASSFILE" in gap["hint"]


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gap = only_gap(diag("db", f"postgresql://diag:geheim@127.0.0.1:{probe.getsockname()[1]}/"))
    assert "refused" in gap["reason"]


def test_a_server_that_says_nothing_is_left_alone_in_time(silent: int) -> None:
    begun = time.monotonic()
    gap = only_gap(diag("db", f"postgresql://diag:geheim@127.0.0.1:{silent}/"))
    assert time.monotonic() - begun < 20
    assert "diag stacks PID" in gap["hint"]


def test_a_server_that_stops_is_left_alone_in_time(shop: PostgreSQL) -> None:
    os.kill(shop.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        only_gap(diag("db", shop.dsn()))
        assert time.monotonic() - begun < 20
    finally:
        os.kill(shop.pid, signal.SIGCONT)


def test_without_the_client_library_a_gap_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('not here')\n", encoding="utf-8")
    answer = diag("db", "postgresql://diag:geheim@127.0.0.1:1/", env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert only_gap(answer)["hint"] == "pip install 'diag[postgres]'"


def test_pgservice_and_pgpassfile(shop: PostgreSQL, tmp_path: Path) -> None:
    service, passwords = tmp_path / "services", tmp_path / "pgpass"
    service.write_text(
        f"[shop]\nhost=127.0.0.1\nport={shop.port}\nuser=diag\ndbname=shop\n", encoding="utf-8"
    )
    passwords.write_text("*:*:*:diag:geheim\n", encoding="utf-8")
    passwords.chmod(0o600)
    login = {"PGSERVICE": "shop", "PGSERVICEFILE": str(service), "PGPASSFILE": str(passwords)}
    answer = diag("db", env=login)
    assert (answer.code, answer.json["db"][0]["product"]) == (0, "PostgreSQL"), answer


def test_a_recording_holds_no_password_and_gives_the_same_again(shop: PostgreSQL, tmp_path: Path) -> None:
    import zlib  # noqa: PLC0415 - only here

    tape = tmp_path / "tape"
    with client(shop, "sleep"), client(shop, "wait") as waiter:
        until_waiting(shop, 1)
        recorded = diag(
            "record", "-o", tape, "--", "why", waiter.pid, "--dsn", shop.dsn(), "--format", "json",
            form="terminal",
        )  # fmt: skip
    again = diag("why", waiter.pid, "--replay", tape)
    assert again.stdout == recorded.stdout
    assert "database-lock" in again.stdout
    data = tape.read_bytes()
    assert b"geheim" not in zlib.decompress(data[data.index(b"\n") + 1 :])


@pytest.mark.parametrize("hangs", [False, True], ids=["cut", "hang"])
def test_a_server_that_is_gone_after_some_answers(shop: PostgreSQL, hangs: bool) -> None:
    with relay(shop.port, answers=7, hangs=hangs) as port:
        begun = time.monotonic()
        only_gap(diag("db", shop.dsn().replace(f":{shop.port}/", f":{port}/")))
        assert time.monotonic() - begun < 45


def test_a_server_that_restarts_between_two_looks_is_no_clean_bill(shop: PostgreSQL) -> None:
    with client(shop, "sleep"), client(shop, "wait"), relay(shop.port, calls=1) as port:
        until_waiting(shop, 1)
        gap = only_gap(diag("db", shop.dsn().replace(f":{shop.port}/", f":{port}/")))
    assert "refused" in gap["reason"]


def test_tls_that_one_side_wants_and_the_other_has_not(shop: PostgreSQL) -> None:
    gap = only_gap(diag("db", f"{shop.dsn()}?sslmode=require"))
    assert "sslmode=disable" in gap["hint"]
    access = Path(shop.directory, "data", "pg_hba.conf")
    known = access.read_text(encoding="utf-8")
    access.write_text(known.replace("host all", "hostssl all"), encoding="utf-8")
    try:
        shop.execute("select pg_reload_conf()")
        gap = _until(lambda: only_gap(diag("db", shop.dsn())), lambda gap: "no encryption" in gap["reason"])
        assert "?sslmode=require" in gap["hint"]
    finally:
        access.write_text(known, encoding="utf-8")
        shop.execute("select pg_reload_conf()")
        wait_until(lambda: diag("db", shop.dsn()).code == 0, "the server has read its file again")


def test_a_login_with_tls(shop: PostgreSQL, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    data = Path(shop.directory, "data")
    for one in (certificate, key):
        shutil.copy(one, data)
        if os.geteuid() == 0:
            os.chown(data / one.name, NOBODY, NOBODY)
    (data / "server.key").chmod(0o600)
    try:
        shop.execute("alter system set ssl = on", "select pg_reload_conf()")
        for options in ("sslmode=require", f"sslmode=verify-full&sslrootcert={certificate}"):
            wait_until(lambda: diag("db", f"{shop.dsn()}?{options}").code == 0, f"a login with {options}")  # noqa: B023
        (other := tmp_path / "other").mkdir()
        wrong = f"sslmode=verify-full&sslrootcert={self_signed(other)[0]}"
        assert "certificate verify failed" in only_gap(diag("db", f"{shop.dsn()}?{wrong}"))["reason"]
    finally:
        shop.execute("alter system reset ssl", "select pg_reload_conf()")


def _until(ask: Callable[[], dict[str, str]], wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    for _ in range(5):
        if wanted(found := ask()):
            break
    return found


def test_a_role_that_has_all_its_connections(shop: PostgreSQL) -> None:
    shop.execute("alter role diag connection limit 0")
    try:
        gap = only_gap(diag("db", shop.dsn()))
        assert "too many connections" in gap["reason"]
        assert "CONNECTION LIMIT" in gap["hint"]
    finally:
        shop.execute("alter role diag connection limit -1")


def test_a_full_server(shop: PostgreSQL) -> None:
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(
                    psycopg.connect(host=shop.directory, port=shop.port, user="admin", dbname="shop")
                )
        gap = only_gap(diag("db", shop.dsn()))
        assert "too many clients" in gap["reason"] or "remaining connection slots" in gap["reason"]
        assert "max_connections" in gap["hint"]


def test_a_service_that_is_not_there() -> None:
    answer = diag("db", env={"PGSERVICE": "nowhere", "PGSERVICEFILE": "/nonexistent"})
    assert "PGSERVICE" in only_gap(answer)["hint"]
