"""The knowledge base and the rules that use it: an entry holds where its facts are, and nowhere else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from diag.model.code import CodePlace, SourceLine, Symbol
from diag.model.finding import Confidence, Finding, Fired, Severity
from diag.model.snapshot import Snapshot
from diag.rules import (
    crash_victims,
    fork_unsafe_library,
    heap_corruption,
    judge,
    known,
    null_dereference,
    refcount_corruption,
    replaced_library,
    shared_connection,
    unexplained_crash,
)
from tests.crashes.logs import MAIN, OTHER, START, celery, groups, segfault
from tests.rules.crashes import finding, findings, quiet, rule

if TYPE_CHECKING:
    from diag.model.crash import CrashGroup
    from diag.rules.known.entry import Known

WORKER = celery(START + 3)


def crash(library: str, *, sp: int = OTHER, name: str = "python", address: int = 0x7F1122334455) -> str:
    return segfault(name=name, address=address, sp=sp, tail=f" in {library}[7f0000001000+2000]")


def names(*lines: str) -> set[str]:
    return {entry.name for group in groups(*lines) for entry in known.of(group)}


@pytest.mark.parametrize("entry", known.ENTRIES, ids=lambda entry: entry.name)
def test_entries_are_whole(entry: Known) -> None:
    assert len({one.name for one in known.ENTRIES}) == len(known.ENTRIES)
    for text in (entry.cause, entry.fix):
        assert text
        assert not text.endswith(".")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+(?:, [\w.-]+/[\w.-]+#\d+)*", entry.reference)
    assert entry.library or entry.function or entry.said
    for pattern in (entry.library, entry.function, entry.said, entry.program):
        assert pattern is None or re.compile(pattern)


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("libmysqlclient.so.21.2.32", "mysql-connection"),
        ("libcrypto.so.1.0.0", "openssl-1.0-locks"),
        ("libcrypto.so.10", "openssl-1.0-locks"),
        ("libssl.so.3", "tls-closed-elsewhere"),
        ("libsqlite3.so.0.8.6", "sqlite-connection"),
        ("_sqlite3.cpython-311-x86_64-linux-gnu.so", "sqlite-connection"),
    ],
)
def test_a_handle_of_one_thread_is_suspected_in_other_threads_only(library: str, name: str) -> None:
    assert name in names(crash(library))
    assert name not in names(crash(library, sp=MAIN))


@pytest.mark.parametrize("library", ["libm.so.6", "libcrypto.so.3", "libmysqlrouter.so.1", "_sqlitex.so"])
def test_other_libraries_have_no_known_cause(library: str) -> None:
    assert names(crash(library)) == set()
    assert names(crash(library), WORKER) <= {"tls-connection-fork"}


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("cygrpc.cpython-311-x86_64-linux-gnu.so", "gRPC was in use before the fork"),
        ("librdkafka.so.1", "Kafka handle"),
        ("libcudart.so.10.1.243", "CUDA was initialised before the fork"),
        ("libpq.so.5.15", "PostgreSQL connection"),
    ],
)
def test_c010_needs_a_forked_worker(library: str, words: str) -> None:
    found = finding(fork_unsafe_library, crash(library), WORKER)
    assert words in found.summary
    assert found.confidence is Confidence.POSSIBLE  # that it was in use before the fork is not seen
    assert "see " in found.remedy[0]
    assert quiet(fork_unsafe_library, crash(library))
    assert findings(unexplained_crash, crash(library), WORKER) == ()


def test_c010_comes_before_the_null_pointer_that_it_explains() -> None:
    lines = (crash("cygrpc.cpython-311-x86_64-linux-gnu.so", address=0x40), WORKER)
    assert finding(fork_unsafe_library, *lines).severity is Severity.CRITICAL
    assert finding(null_dereference, *lines).severity is Severity.INFO


def test_c010_is_quiet_on_other_libraries_of_forked_workers() -> None:
    assert quiet(fork_unsafe_library, crash("libm.so.6"), WORKER)
    assert quiet(fork_unsafe_library, WORKER)


def with_code(line: str, symbol: str, *, inlined: str | None = None) -> CrashGroup:
    (group,) = groups(line)
    place = CodePlace(
        path="/usr/lib/x.so",
        address=0x1010,
        symbol=Symbol(name=symbol, address=0x1000, size=64, table=".symtab"),
        within=16,
        line=(inlined and SourceLine(file="/src/a.c", line=7, function=inlined, inlined_into=(symbol,)))
        or None,
    )
    return replace(group, code=place, symbol=symbol)


def judged(module: object, group: CrashGroup) -> tuple[Finding, ...]:
    verdict = judge(rule(module), Snapshot(crash_groups=(group,)))  # type: ignore[arg-type]
    return verdict.findings if isinstance(verdict, Fired) else ()


@pytest.mark.parametrize(
    ("library", "symbol"),
    [
        ("libc.so.6", "_int_free"),
        ("libc-2.31.so", "malloc_consolidate"),
        ("libc.so.6", "unlink_chunk.constprop.0"),
        ("libpython3.11.so.1.0", "_PyObject_Free"),
        ("libjemalloc.so.2", "je_arena_malloc_hard"),
    ],
)
def test_c006_a_crash_in_the_allocator_blames_nobody(library: str, symbol: str) -> None:
    group = with_code(crash(library), symbol)
    (found,) = judged(heap_corruption, group)
    assert symbol.partition(".")[0] in found.summary
    assert found.culprit is None
    assert judged(unexplained_crash, group) == ()
    low = with_code(crash(library, address=0x18), symbol)
    assert [one.severity for one in judged(null_dereference, low)] == [Severity.INFO]


@pytest.mark.parametrize(
    "symbol", ["visit_decref", "gc_collect_main", "tupletraverse", "subtype_dealloc", "_Py_Dealloc"]
)
def test_c002_a_crash_in_the_garbage_collector_blames_nobody(symbol: str) -> None:
    group = with_code(crash("libpython3.8.so.1.0"), symbol)
    (found,) = judged(refcount_corruption, group)
    assert "the victim, not the culprit" in found.summary
    assert (found.culprit, found.confidence) == (None, Confidence.POSSIBLE)
    assert judged(heap_corruption, group) == ()


def test_c002_sees_what_was_inlined() -> None:
    group = with_code(crash("python3.11"), "list_clear_impl", inlined="Py_DECREF")
    assert len(judged(refcount_corruption, group)) == 1


@pytest.mark.parametrize(
    ("library", "symbol"),
    [("libapp.so", "free"), ("libapp.so", "visit_decref"), ("libpython3.8.so.1.0", "list_append")],
)
def test_names_alone_make_no_victim(library: str, symbol: str) -> None:
    group = with_code(crash(library), symbol)
    assert judged(heap_corruption, group) == judged(refcount_corruption, group) == ()


def test_a_copying_function_is_not_to_blame() -> None:
    group = with_code(crash("libc.so.6"), "__memmove_avx_unaligned_erms")
    (found,) = judged(unexplained_crash, group)
    assert found.culprit is None
    assert "the caller is to blame" in found.against[0]
    assert crash_victims.notes(with_code(crash("libc.so.6"), "getaddrinfo")) == ()


@pytest.mark.parametrize("library", ["libc-2.31.so", "libc.so.6", "ld-musl-x86_64.so.1", "libjemalloc.so.2"])
def test_the_c_library_is_not_blamed_where_its_function_is_unknown(library: str) -> None:
    for line, module in ((crash(library, address=0), null_dereference), (crash(library), unexplained_crash)):
        found = finding(module, line)
        assert found.culprit is None
        assert "what its callers give it" in found.against[0]


def test_c009_tells_a_replaced_file_from_a_missing_one() -> None:
    (group,) = groups(crash("libx.so"))
    other = replace(
        group, code=CodePlace(path="/usr/lib/libx.so", unlike=True, replaced="it was written after")
    )
    (found,) = judged(replaced_library, other)
    assert (found.severity, found.confidence) == (Severity.INFO, Confidence.LIKELY)
    missing = replace(group, code=CodePlace(trouble="no file named libx.so was found"))
    assert judged(replaced_library, missing) == judged(replaced_library, group) == ()
    alive = replace(group, code=CodePlace(path="/usr/lib/libx.so", users=(77,)))
    (found,) = judged(replaced_library, alive)
    assert (found.severity, found.confidence) == (Severity.WARNING, Confidence.CERTAIN)
    assert "pid 77 still runs the old file" in found.summary


def test_c009_admits_an_unread_log() -> None:
    assert quiet(replaced_library, crash("libx.so"))


@pytest.mark.parametrize(
    ("library", "symbol", "fires"),
    [
        ("_app_driver.so", "mysql_real_query", True),
        ("service", "mthd_my_read_query_result", True),
        ("mariadbd", "mysql_execute_command", False),
        ("service", "net_read", False),
    ],
)
def test_c001_knows_the_client_by_its_functions(library: str, symbol: str, fires: bool) -> None:
    assert bool(judged(shared_connection, with_code(crash(library), symbol))) is fires


def test_commands_to_check_by_hand_quote_what_a_file_is_called() -> None:
    group = with_code(crash("x'; reboot; '.so"), "work")
    (found,) = judged(unexplained_crash, group)
    assert "'\"'\"'" not in found.check[0]  # the file that was found has a harmless name
    (bare,) = judged(unexplained_crash, replace(group, code=None))
    assert "'x'\"'\"'; reboot; '\"'\"'.so'" in bare.check[0]
