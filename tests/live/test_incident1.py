"""A worker dies with SIGSEGV in the MySQL client library: its threads share one connection."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.stories import assert_quiet
from tests.support.cli import diag
from tests.support.interpreters import on_pythons, packages, version_of
from tests.support.locked import one_at_a_time
from tests.support.processes import children, read, running, threads_in, wait_until
from tests.support.require import need_root, need_tool, require
from tests.support.servers import rsyslog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.cli import Answer
    from tests.support.processes import Program
    from tests.support.servers import MariaDB

pytestmark = pytest.mark.live

CLIENT = "in libmariadb.so"


def mysqlclient(python: str) -> Path:
    """2.2.7 is the last that lets threads share a connection: 2.3 raises an error instead."""
    need_tool("mariadb_config", "libmariadb-dev")
    return packages(python, "mysqlclient==1.4.6" if version_of(python) == "2.7" else "mysqlclient==2.2.7")


def kernel_log() -> list[str]:
    """The kernel ring buffer, as dmesg prints it."""
    need_root()
    dmesg = need_tool("dmesg", "util-linux")
    return subprocess.run(
        [dmesg], capture_output=True, text=True, errors="replace", check=True
    ).stdout.splitlines()


@contextmanager
def crashing(python: str, database: MariaDB) -> Iterator[Program]:
    """Run the service whose workers die. The kernel's log is one for all tests."""
    require(read("/proc/sys/debug/exception-trace").strip() == "1", "debug.exception-trace is 0")
    with (
        one_at_a_time("kernel-log"),
        running(python, "mysql_shared.py", "service", database.port, path=mysqlclient(python)) as service,
    ):
        yield service


def until_it_dies(service: Program, log: Path) -> list[str]:
    """Wait for a death in the client library that the kernel has logged; keep the log in ``log``."""
    started = time.clock_gettime(time.CLOCK_MONOTONIC)

    def fresh() -> list[str]:
        lines = [line for line in kernel_log() if _seconds(line) >= started]
        return lines if any(CLIENT in line for line in lines) else []

    lines = wait_until(fresh, f"a crash in the client library:\n{service.stderr()}", timeout=60)
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _seconds(line: str) -> float:
    head = line.partition("]")[0].lstrip("[ ")
    return float(head) if head.replace(".", "", 1).isdigit() else 0.0


def the_cause(answer: Answer, *, confidence: str = "likely") -> dict[str, Any]:
    """The client library is named, and that threads share a connection."""
    assert answer.code == 3, answer
    found = [finding for finding in answer.json["findings"] if finding["code"] == "C001"]
    assert found, answer
    # Certain where two threads of one process faulted at the same moment.
    assert found[0]["confidence"] in (confidence, "certain"), answer
    assert "libmariadb.so.3" in found[0]["culprit"]["library"], answer
    assert "connection" in found[0]["summary"], answer
    first: dict[str, Any] = found[0]
    return first


@on_pythons("2.7", "3.11")
def test_the_kernels_line_of_a_real_crash(python: str, database: MariaDB, tmp_path: Path) -> None:
    log = tmp_path / "dmesg"
    with crashing(python, database) as service:
        lines = until_it_dies(service, log)
    answer = diag("segfaults", log)
    cause = the_cause(answer)
    events = answer.json["segfaults"]["events"]
    crash = next(event for event in events if "libmariadb" in (event.get("library") or ""))
    line = lines[crash["at"]["line"] - 1]
    assert crash["at"]["file"] == str(log)
    assert f"[{crash['pid']}]" in line
    assert crash["ip"].removeprefix("0x") in line
    # The client library was in use by a thread, not by the main one.
    assert "main thread" in str(cause), answer


def test_the_services_own_log_is_joined(database: MariaDB, tmp_path: Path, python: str) -> None:
    log, service_log = tmp_path / "dmesg", tmp_path / "celery.log"
    with crashing(python, database) as service:
        until_it_dies(service, log)
        wait_until(lambda: "signal 11" in service.stderr(), "the service notices")
        service_log.write_text(service.stderr(), encoding="utf-8")
    answer = diag("segfaults", log, service_log)
    the_cause(answer)
    assert "exited with 'signal 11 (SIGSEGV)'" in str(answer.json["findings"]), answer


@on_pythons("3.8", "3.13")
def test_faulthandlers_words_alone_tell(python: str, database: MariaDB, tmp_path: Path) -> None:
    """It catches the signal, so the kernel has no line of it; several threads tear what it writes."""
    log = tmp_path / "worker.log"

    def told() -> Answer | None:
        with running(
            python,
            "mysql_shared.py",
            "service",
            database.port,
            path=mysqlclient(python),
            env={"PYTHONFAULTHANDLER": "1"},
        ) as service:
            wait_until(lambda: "signal 11" in service.stderr(), "a worker's death", timeout=60)
            log.write_text(service.stderr(), encoding="utf-8")
        answer = diag("segfaults", log)
        return answer if any(one["code"] == "C001" for one in answer.json["findings"]) else None

    answer = wait_until(told, "a dump in the client", timeout=120)
    assert answer
    (cause,) = [one for one in answer.json["findings"] if one["code"] == "C001"]
    assert cause["confidence"] in ("likely", "possible")
    assert cause["culprit"]["library"] == "MySQLdb"


def test_the_ring_buffer_is_read_without_being_told(database: MariaDB, tmp_path: Path, python: str) -> None:
    with crashing(python, database) as service:
        until_it_dies(service, tmp_path / "dmesg")
        answer = diag("segfaults")
    the_cause(answer)


def test_a_real_messages_file(database: MariaDB, tmp_path: Path, python: str) -> None:
    """The same line on its way through rsyslog's imklog."""
    with crashing(python, database) as service, rsyslog(tmp_path) as messages:
        wait_until(
            lambda: CLIENT in read(str(messages)),
            f"a crash in the client library:\n{service.stderr()}",
            timeout=60,
        )
        answer = diag("segfaults", messages)
    the_cause(answer)
    [group] = [
        group for group in answer.json["segfaults"]["groups"] if "libmariadb" in (group["library"] or "")
    ][:1]
    assert group["first"], answer


def test_living_siblings_that_share_a_connection_make_it_certain(
    database: MariaDB, tmp_path: Path, python: str
) -> None:
    with (
        crashing(python, database) as service,
        running(python, "mysql_shared.py", "alive", database.port, path=mysqlclient(python)) as sibling,
    ):
        until_it_dies(service, tmp_path / "dmesg")
        wait_until(lambda: len(threads_in(sibling.pid, "poll")) >= 2, "two threads in the client")
        # A log file may be another host's; the ring buffer is this one's.
        answer = diag("segfaults")
    the_cause(answer, confidence="certain")
    assert str(sibling.pid) in str(answer.json["findings"])


@on_pythons("2.7", "3.11")
def test_a_shared_connection_is_seen_before_any_crash(python: str, database: MariaDB) -> None:
    with running(python, "mysql_shared.py", "alive", database.port, path=mysqlclient(python)) as program:
        wait_until(lambda: len(threads_in(program.pid, "poll")) >= 2, "two threads in the client")
        answer = diag("stacks", program.pid)
        assert answer.code == 3, answer
        finding = answer.found("C001")
        assert finding["severity"] == "warning"
        assert {victim["pid"] for victim in finding["victims"]} <= {program.pid}
        told = str(finding)
        assert "Connection" in told or "Cursor" in told, answer


@on_pythons("2.7", "3.11")
@pytest.mark.parametrize("way", ["own", "pool"])
def test_threads_that_do_not_share_at_once_are_fine(way: str, python: str, database: MariaDB) -> None:
    with running(python, "mysql_shared.py", way, database.port, path=mysqlclient(python)) as program:
        wanted = 4 if way == "own" else 1
        wait_until(lambda: len(threads_in(program.pid, "poll")) >= wanted, "threads in the client")
        assert not children(program.pid)
        assert_quiet(diag("stacks", program.pid))
