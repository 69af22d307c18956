"""What follows a line and belongs to it: torn rests, registers, tracebacks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diag.collectors.crash_lines import follows, parse_line
from diag.model.crash import CrashEvent, LogLine

AT = LogLine(file="log", line=1)
WHOLE = (
    "python[77]: segfault at 1b8 ip 00007f0000001010 sp 00007f0000f00000 error 4 in "
    "libx.so.1[7f0000001000+2000]"
)
TRAP = "traps: python[77] trap divide error ip:401146 sp:7f0000f00000 error:0 in app[401000+1000]"


def read(*lines: str) -> CrashEvent:
    text, rest = lines[0], "\n".join(lines[1:])
    wanted = follows(text.encode())
    assert wanted >= len(rest), "what follows is not even asked for"
    event = parse_line(text, AT, rest)
    assert event is not None
    return event


@pytest.mark.parametrize("line", [WHOLE, TRAP])
def test_a_line_broken_anywhere_is_put_together_again(line: str) -> None:
    whole = parse_line(line, AT)
    assert whole is not None
    begin = line.index(" ip") + 4
    for place in range(begin, len(line) - 1):
        for rest in (line[place:], f"    {line[place:].lstrip()}"):
            if line[place - 1] != " " and line[place] != " " and rest[0] == " ":
                continue  # mails break at blanks, terminals anywhere but without indenting
            event = read(line[:place].rstrip(), rest, "and something else")
            assert (event.kind, event.ip, event.sp, event.error, event.library, event.map_base) == (
                whole.kind, whole.ip, whole.sp, whole.error, whole.library, whole.map_base,
            ), (place, rest)  # fmt: skip


def test_a_line_broken_in_three() -> None:
    event = read(WHOLE[:40], WHOLE[40:70], WHOLE[70:])
    assert (event.kind, event.library) == ("x86-segfault", "libx.so.1")


def test_the_next_line_of_the_log_is_no_rest_of_a_torn_one() -> None:
    for other in (f"[  12.345678] {TRAP}", f"Nov 11 07:00:01 web-01 kernel: {WHOLE}", "x in y[z]"):
        event = read(WHOLE[:40], other)
        assert (event.kind, event.library) == ("truncated", None)
    cut = WHOLE.partition(" in ")[0]
    assert read(cut, "GET /in lib[1+2] 200").library is None


def test_arm64_prints_its_registers_below() -> None:
    event = read(
        "[   52.000001] netd[812]: unhandled exception: DABT (lower EL), ESR 0x0000000092000006, level 2 "
        "translation fault in netd[aaaac0000000+30000]",
        "[   52.000002] CPU: 1 PID: 812 Comm: netd Not tainted 6.1.0 #1",
        "[   52.000003] pstate: 60000000 (nZCv daif -PAN -UAO -TCO BTYPE=--)",
        "[   52.000004] pc : 0000aaaac0001234",
        "[   52.000005] lr : 0000aaaac0001200",
        "[   52.000006] sp : 0000fffffe001230",
    )
    assert (event.program, event.ip, event.sp, event.offset) == (
        "netd",
        "0000aaaac0001234",
        "0000fffffe001230",
        0x1234,
    )


def test_registers_of_another_process_are_not_taken() -> None:
    event = read(
        "netd[812]: unhandled signal 11 code 0x1 at 0x0000000000000008",
        "CPU: 1 PID: 813 Comm: other Not tainted",
        "epc : 0000003fa0ac2ba4 ra : 0000003fa0ac2b9c sp : 0000003fc2a5f0a0",
    )
    assert (event.pid, event.program, event.ip) == (812, "netd", None)


def test_s390_names_the_program_below() -> None:
    event = read(
        "User process fault: interruption code 003b ilc:3 in libc.so.6[3ffb2e80000+100000]",
        "Failing address: 0000000000000000 TEID: 0000000000000800",
        "Fault in primary space mode while using user ASCE.",
        "AS:00000001f4b5c1c7 R3:0000000000000024",
        "CPU: 2 PID: 3011 Comm: python3 Not tainted 5.14.0-1.el9.s390x #1",
        "User PSW : 0705200180000000 000003ffb2e81234",
    )
    assert (event.program, event.pid, event.offset) == ("python3", 3011, 0x1234)


DUMP = """Fatal Python error: Segmentation fault

Current thread 0x00007f3b7e7fc700 [worker] (most recent call first):
  File "/app/db.py", line 12 in fetch
  File "/app/tasks.py", line 40 in run

Thread 0x00007f3b80d1f740 [main] (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 324 in wait
  <no Python frame>

Extension modules: MySQLdb._mysql, lxml.etree (total: 2)
"""


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "webserver  | ",
        "2026-11-26T06:27:50.1234567Z ",
        "2026-11-26T06:27:50.5Z stderr F ",
        "Nov 26 06:27:50 h app[7]: ",
    ],
)
def test_a_dump_of_all_threads(prefix: str) -> None:
    event = read(*(prefix + line for line in DUMP.splitlines()), "app: ready again")
    assert [(one.ident, one.name, one.current) for one in event.threads] == [
        ("00007f3b7e7fc700", "worker", True),
        ("00007f3b80d1f740", "main", False),
    ]
    assert [(frame.function, frame.file, frame.line) for frame in event.threads[0].frames] == [
        ("fetch", "/app/db.py", 12),
        ("run", "/app/tasks.py", 40),
    ]
    assert event.detail("extension_modules") == "MySQLdb._mysql, lxml.etree"


def test_a_dump_ends_where_the_log_goes_on() -> None:
    ordinary = [f"ordinary line {number}" for number in range(9)]
    event = read("Fatal Python error: Aborted", *ordinary, '  File "/x.py", line 1 in later')
    assert event.threads == ()


def test_what_other_threads_write_into_a_dump_does_not_end_it_but_another_dump_does() -> None:
    head = "(most recent call first):"
    torn = [
        f"Thread 0x0001 {head}",
        "  File \"(2006, '')/lib/threading.py",
        ", line 5 in run",
        f"Thread 0x0002 {head}",
        '  File "/a.py", line 1 in f',
        "Traceback (most recent call last):",
        "    self.run()",
        f"Current thread 0x0003 {head}",
        '  File "/db.py", line 2 in query',
        "",
        "Fatal Python error: Aborted",
        "",
        f"Current thread 0x0004 {head}",
        '  File "/b.py", line 2 in other',
    ]
    event = read("Fatal Python error: Segmentation fault", "", *torn)
    assert [(thread.ident, thread.current) for thread in event.threads] == [
        ("0001", False),
        ("0002", False),
        ("0003", True),
    ]


def test_a_dump_in_dockers_json() -> None:
    lines = [
        '{"log":' + '"' + line.replace('"', '\\"') + '\\n","stream":"stderr","time":"2026-11-22T08:00:00.5Z"}'
        for line in DUMP.splitlines()
    ]
    assert len(read(*lines).threads) == 2


@given(st.sampled_from([WHOLE[:40], TRAP[:50], DUMP.splitlines()[0], "User process fault: interruption"]),
       st.text(max_size=300))  # fmt: skip
def test_nothing_that_follows_breaks_the_parser(line: str, after: str) -> None:
    parse_line(line, AT, after)


@pytest.mark.hostile
@pytest.mark.parametrize("part", ['  File "', "Thread 0x1 [", "CPU: 1 PID: ", "in x[", "a", "User PSW : 1 "])
def test_what_follows_takes_no_quadratic_time(part: str) -> None:
    after = (part * 65536)[:65536]
    for line in (DUMP.splitlines()[0], "User process fault: interruption code 0011 ilc:2", WHOLE[:70]):
        begin = time.process_time()
        parse_line(line, AT, after)
        assert time.process_time() - begin < 2


def test_the_frame_of_a_dying_jvm_and_the_words_of_an_exception_come_with_it() -> None:
    jvm = "#  SIGSEGV (0xb) at pc=0x00007f24ea928fc8, pid=70, tid=71"
    after = "#\n# JRE version: 17\n# Problematic frame:\n# C  [libx.so+0x7c330]  work+0x60\n#\n"
    event = parse_line(jvm, AT, after)
    assert event is not None
    assert event.text.endswith("C  [libx.so+0x7c330]  work+0x60")
    event = parse_line("terminate called after throwing an instance of 'E'", AT, "  what():  no such table\n")
    assert event is not None
    assert event.text.endswith("no such table")


UWSGI = "!!! uWSGI process 20 got Segmentation Fault !!!"
OWN = (
    "*** backtrace of 20 ***",
    "/usr/bin/uwsgi(uwsgi_backtrace+0x2f) [0x557f6aeb6b2f]",
    "/usr/bin/uwsgi(uwsgi_segfault+0x23) [0x557f6aeb6f03]",
    "/lib/x86_64-linux-gnu/libc.so.6(+0x3c050) [0x7f291965a050]",
)


@pytest.mark.parametrize(
    ("frames", "library", "details"),
    [
        (
            ["/l/libx.so.1(work+0x1d7) [0x7f1]", "/l/liby.so(more+0x1) [0x7f2]"],
            "libx.so.1",
            {"function": "work"},
        ),
        (
            ["/l/libx.so.1(+0x1d7) [0x7f1]", "/l/libx.so.1(outer+0x1) [0x7f2]"],
            "libx.so.1",
            {"caller": "outer"},
        ),
        (["/l/libx.so.1(+0x1d7) [0x7f1]", "/l/liby.so(more+0x1) [0x7f2]"], "libx.so.1", {}),
        (["/l/libx.so.1(Some_Type+0) [0x7f1]"], "libx.so.1", {"function": "Some_Type"}),
        (["[0x7f1]", "/l/libx.so.1(work+0x1d7) [0x7f1]"], None, {"nowhere": True}),
        ([], None, {}),
    ],
)
def test_the_place_is_below_uwsgis_own_frames_and_the_kernels(
    frames: list[str], library: str | None, details: dict[str, object]
) -> None:
    event = read(UWSGI, *OWN, *frames, "*** end of backtrace ***")
    assert (event.library, dict(event.details)) == (library, details)


def test_a_stack_without_the_frame_that_a_handler_returns_through_tells_no_place() -> None:
    assert read(UWSGI, *OWN[:3], "/l/libx.so.1(work+0x1d7) [0x7f1]").library is None
