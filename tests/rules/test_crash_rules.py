"""C002 to C014: each fires on its own lines, is quiet on the others', and admits an unread log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from diag.model.finding import Confidence, Severity
from diag.rules import (
    bad_instruction,
    bad_jump,
    crash_loop,
    forbidden_call,
    heap_corruption,
    killed_by_supervisor,
    null_dereference,
    out_of_memory,
    refcount_corruption,
    shared_connection,
    stack_overflow,
    unexplained_crash,
)
from tests.crashes.logs import MAP, MYSQL, START, celery, kernel, segfault, stamp
from tests.rules.crashes import finding, findings, quiet

if TYPE_CHECKING:
    from types import ModuleType

CASES: dict[ModuleType, str] = {
    shared_connection: segfault(tail=MYSQL),
    refcount_corruption: "Fatal Python error: GC object already tracked",
    null_dereference: segfault(),
    stack_overflow: segfault(address=0x7F24D3FFDFF8 - 0x1000, sp=0x7F24D3FFD000, error=6),
    bad_jump: segfault(address=0, ip=0, error=0x14, tail=""),
    heap_corruption: "double free or corruption (!prev)",
    out_of_memory: kernel(
        "Out of memory: Killed process 5 (app) total-vm:9kB, anon-rss:2097152kB, file-rss:0kB"
    ),
    bad_instruction: kernel(f"traps: app[77] trap divide error ip:7f0000001010 sp:7f24d3ffdc20 error:0{MAP}"),
    unexplained_crash: segfault(address=0x7F1122334455),
    killed_by_supervisor: "[2026-11-11 07:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:52)\n"
    "[2026-11-11 07:00:01 +0000] [1] [ERROR] Worker (pid:52) was sent SIGKILL! Perhaps out of memory?",
    forbidden_call: 'type=1326 audit(1794380400.503:4): auid=0 uid=0 gid=0 ses=1 pid=9 comm="app" exe="/app" '
    "sig=31 arch=c000003e syscall=41 compat=0 ip=0x7f1 code=0x80000000",
}


@pytest.mark.parametrize("module", CASES, ids=lambda module: module.CODE)
def test_each_line_has_one_cause(module: ModuleType) -> None:
    for other, line in CASES.items():
        if other is module:
            assert len(findings(module, *line.split("\n"))) == 1
        elif (module, other) != (null_dereference, shared_connection):  # told as a detail, as info
            assert quiet(module, *line.split("\n")), f"{module.CODE} on {line}"


@pytest.mark.parametrize("module", [*CASES, crash_loop], ids=lambda module: module.CODE)
def test_no_crash_no_finding(module: ModuleType) -> None:
    assert quiet(module)
    assert quiet(module, f"{stamp(START)} web-01 kernel: [1000.000000] eth0: link up")


def test_c003_names_field_and_place() -> None:
    found = finding(null_dereference, segfault(error=6))
    assert found.confidence is Confidence.CERTAIN
    for words in ("write at NULL+0x1b8", "libx.so at offset 0x10", "not in the main thread"):
        assert words in found.summary


@pytest.mark.parametrize(
    ("address", "ip", "error", "words"),
    [
        (0, 0, 0x14, "NULL (a function pointer that was never set)"),
        (0x10, 0x10, 0x14, "read through NULL"),
        (0x7F0000001010, 0x7F0000001010, 0x15, "holds data"),
        (0x42424242, 0x42424242, 0x14, "where no code is"),
        (0, 0, 4, "NULL"),  # a 32-bit kernel without NX
    ],
)
def test_c005_says_where_the_jump_went(address: int, ip: int, error: int, words: str) -> None:
    line = segfault(address=address, ip=ip, error=error, tail=" in above.so[7f0000009000+2000]")
    found = finding(bad_jump, line)
    assert words in found.summary
    assert found.culprit is None
    assert "above.so" in found.against[0]


def test_c007_tells_the_cgroup_from_the_host() -> None:
    assert "the host was out of memory" in finding(out_of_memory, CASES[out_of_memory]).summary
    inside = CASES[out_of_memory].replace("Out of", "Memory cgroup out of")
    assert "its memory cgroup was full" in finding(out_of_memory, inside).summary
    assert "2048 MiB" in finding(out_of_memory, inside).summary


def test_c008_needs_three_of_a_kind() -> None:
    hourly = [segfault(START + 3600 * hour, tid=hour + 1) for hour in range(4)]
    assert "4 times, hourly at minute 0" in finding(crash_loop, *hourly).summary
    restarts = [segfault(START + wait, tid=wait + 1) for wait in (0, 17, 61, 70)]
    assert "4 times within 1.2 min" in finding(crash_loop, *restarts).summary
    assert quiet(crash_loop, *hourly[:2])
    rare = [segfault(START + day * 86400.0 + day * day * 5000, tid=day + 1) for day in range(4)]
    assert quiet(crash_loop, *rare)


def test_c008_is_one_finding_a_program() -> None:
    lines = [
        segfault(START + 60 * beat, ip=0x7F0000001000 + place, tid=beat)
        for place in (1, 2)
        for beat in range(1, 5)
    ]
    assert len(findings(crash_loop, *lines)) == 1


def test_c012_asks_for_the_kernels_log_when_only_the_service_spoke() -> None:
    found = finding(unexplained_crash, celery(START))
    assert "no kernel line" in found.summary
    assert found.severity is Severity.CRITICAL
    assert "diag segfaults /var/log/messages" in found.remedy[0]


def test_c012_does_not_call_sigkill_a_crash() -> None:
    found = finding(unexplained_crash, celery(START, signal=9))
    assert found.severity is Severity.WARNING
    assert "no crash of its own" in found.summary


def test_c012_sees_a_buffer_overrun_of_the_stack() -> None:
    found = finding(unexplained_crash, segfault(address=0x7FFC44D5B000, sp=0x7FFC44D59AE0, error=6))
    assert "overrun" in found.against[0]


def test_c012_steps_behind_a_shared_connection_of_the_same_program() -> None:
    found = finding(unexplained_crash, segfault(address=0x7F1122334455), segfault(START + 60, tail=MYSQL))
    assert found.severity is Severity.WARNING
    assert "C001" in found.against[0]


SENT = "[2026-11-11 07:00:{:02} +0000] [1] [ERROR] Worker (pid:{}) was sent SIGKILL! Perhaps out of memory?"


def test_c013_takes_the_time_limit_only_of_the_same_worker_and_moment() -> None:
    limit = "[2026-11-11 07:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:{})"
    assert "gunicorn" in finding(killed_by_supervisor, limit.format(52), SENT.format(1, 52)).summary
    assert quiet(killed_by_supervisor, limit.format(53), SENT.format(1, 52))
    late = limit.format(52).replace("07:00:00", "06:50:00")
    assert quiet(killed_by_supervisor, late, SENT.format(1, 52))
    assert len(findings(unexplained_crash, limit.format(53), SENT.format(1, 52))) == 1


def test_c007_not_c013_where_the_kernel_says_so() -> None:
    kill = kernel("Out of memory: Killed process 52 (gunicorn) total-vm:9kB, anon-rss:8kB, file-rss:0kB")
    assert quiet(killed_by_supervisor, kill, SENT.format(1, 52))
    assert len(findings(out_of_memory, kill, SENT.format(1, 52))) == 1


def test_one_timed_out_and_one_killed_by_somebody_else_are_two_groups() -> None:
    lines = (
        "[2026-11-11 07:00:00 +0000] [1] [CRITICAL] WORKER TIMEOUT (pid:52)",
        SENT.format(1, 52),
        SENT.format(30, 60),
    )
    assert len(findings(killed_by_supervisor, *lines)) == 1
    assert len(findings(unexplained_crash, *lines)) == 1


@pytest.mark.parametrize(
    ("limit", "death", "words"),
    [
        (
            "Wed Nov 11 07:00:00 2026 - *** HARAKIRI ON WORKER 2 (pid: 77, try: 1) ***",
            "Wed Nov 11 07:00:01 2026 - DAMN ! worker 2 (pid: 77) died, killed by signal 9 :( trying respawn",
            "uWSGI",
        ),
        (
            "[2026-11-11 07:00:00,000: ERROR/MainProcess] Hard time limit (300s) exceeded for app.report[1]",
            "[2026-11-11 07:00:05,000: ERROR/MainProcess] Process 'ForkPoolWorker-2' pid:10 exited with "
            "'signal 9 (SIGKILL)'",
            "app.report",
        ),
        (
            "Nov 11 07:00:00 h systemd[1]: app.service: State 'stop-sigterm' timed out. Killing.",
            "Nov 11 07:00:00 h systemd[1]: app.service: Main process exited, code=killed, status=9/KILL",
            "TimeoutStopSec",
        ),
        (
            "Nov 11 07:00:00 h systemd[1]: app.service: Watchdog timeout (limit 30s)!",
            "Nov 11 07:00:00 h systemd[1]: app.service: Main process exited, code=dumped, status=6/ABRT",
            "WatchdogSec",
        ),
        (
            "Nov 11 07:00:00 h systemd[1]: app.service: systemd-oomd killed 3 process(es) in this unit.",
            "Nov 11 07:00:01 h systemd[1]: app.service: Main process exited, code=killed, status=9/KILL",
            "systemd-oomd",
        ),
    ],
)
def test_c013_names_the_supervisor_and_its_limit(limit: str, death: str, words: str) -> None:
    assert words in finding(killed_by_supervisor, limit, death).summary
    assert quiet(killed_by_supervisor, limit)


def test_c014_names_the_call() -> None:
    assert "connect" not in finding(forbidden_call, CASES[forbidden_call]).summary
    named = finding(forbidden_call, CASES[forbidden_call].replace("syscall=41", "syscall=42"))
    assert "system call connect (42)" in named.summary
    unit = "Nov 11 07:00:00 h systemd[1]: app.service: Main process exited, code=dumped, status=31/SYS"
    assert finding(forbidden_call, unit).confidence is Confidence.LIKELY


def test_c012_suspects_a_core_that_all_faults_of_unrelated_programs_were_on() -> None:
    def faults(cpus: list[int], names: tuple[str, ...] = ("one", "two", "three")) -> list[str]:
        return [
            segfault(
                START + 60 * number, name=names[number % len(names)], tid=number + 9, address=0x7F1122334455,
                tail=f"{MAP} likely on CPU {cpu} (core {cpu}, socket 0)",
            )
            for number, cpu in enumerate(cpus)
        ]  # fmt: skip

    suspected = findings(unexplained_crash, *faults([6] * 12))
    assert all("processor 6" in found.against[0] for found in suspected)
    for healthy in (faults([6] * 11 + [2]), faults([6] * 5), faults([0] * 12), faults([6] * 12, ("one",))):
        assert not any(
            "processor" in text for found in findings(unexplained_crash, *healthy) for text in found.against
        )


UWSGI = [
    "!!! uWSGI process 20 got Segmentation Fault !!!",
    "*** backtrace of 20 ***",
    "/usr/bin/uwsgi(uwsgi_backtrace+0x2f) [0x557f6aeb6b2f]",
    "/usr/bin/uwsgi(uwsgi_segfault+0x23) [0x557f6aeb6f03]",
    "/lib/x86_64-linux-gnu/libc.so.6(+0x3c050) [0x7f291965a050]",
]
DAMN = "DAMN ! worker 1 (pid: 20) died :( trying respawn ..."


@pytest.mark.parametrize(
    ("frame", "module", "words"),
    [
        (
            "/usr/lib/libpython3.9.so.1.0(PyObject_GC_UnTrack+0x1d7) [0x7f1]",
            refcount_corruption,
            "GC_UnTrack",
        ),
        ("/usr/lib/libpython3.6m.so.1.0(PyTuple_Type+0) [0x7f1]", refcount_corruption, "PyTuple_Type"),
        ("/usr/bin/uwsgi(_PyObject_GC_Malloc+0x1d7) [0x7f1]", refcount_corruption, "_PyObject_GC_Malloc"),
        ("[0x7fb75ab73500]", bad_jump, "0x7fb75ab73500, where no code is"),
        (
            "/usr/lib/libmysqlclient.so.18(mysql_send_query+0x1b) [0x7f1]",
            shared_connection,
            "mysql_send_query",
        ),
        (
            "/usr/lib/libpython3.9.so.1.0(_PyEval_EvalFrameDefault+0x5) [0x7f1]",
            unexplained_crash,
            "EvalFrame",
        ),
    ],
)
def test_the_stack_that_uwsgi_writes_of_its_worker(frame: str, module: ModuleType, words: str) -> None:
    lines = [*UWSGI, frame, "*** end of backtrace ***", DAMN]
    found = finding(module, *lines)
    assert words in found.summary
    assert [victim.pid for victim in found.victims] == [20]
    others = {refcount_corruption, bad_jump, shared_connection, unexplained_crash} - {module}
    assert all(quiet(other, *lines) for other in others)


@pytest.mark.parametrize(
    "said",
    [
        "Inconsistent interned string state.",
        "bool_dealloc: deallocating True or False: bug likely caused by a refcount error in a C extension",
        "GC object already in linked list",
    ],
)
def test_cpythons_words_about_wrong_counts(said: str) -> None:
    found = finding(refcount_corruption, f"Fatal Python error: {said}", *["a line"] * 1000, DAMN)
    assert (found.confidence, [victim.pid for victim in found.victims]) == (Confidence.LIKELY, [20])


GLIBC = [
    "*** Error in `/usr/bin/python': double free or corruption (fasttop): 0x00007f9a3c0008c0 ***",
    "======= Backtrace: =========",
    "/lib64/libc.so.6(+0x81429)[0x7f9a52b09429]",
    "/lib64/libc.so.6(cfree+0x4c)[0x7f9a52b0e98c]",
]


def test_who_called_the_allocator_is_told_of_a_heap_that_old_glibcs_found_damaged() -> None:
    client = [*GLIBC, "/usr/lib64/mysql/libmysqlclient.so.18(my_no_flags_free+0x1d)[0x7f9a48d1e0ad]"]
    found = finding(heap_corruption, *client)
    assert "glibc stopped python" in found.summary
    assert "libmysqlclient.so.18 called it last" in found.summary
    assert finding(shared_connection, *client).confidence is Confidence.POSSIBLE
    other = [*GLIBC, "/usr/lib64/libxml2.so.2(xmlFreeNode+0x1d)[0x7f9a48d1e0ad]"]
    assert "libxml2.so.2 called it last" in finding(heap_corruption, *other).summary
    assert quiet(shared_connection, *other)
    assert "called it last" not in finding(heap_corruption, *GLIBC).summary
