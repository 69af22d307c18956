"""Lines put together from the kernel's formats and from the heads that loggers write before them."""

# ruff: noqa: E501 - one message a line
from __future__ import annotations

import re
from typing import Any

import pytest

from diag.collectors.crash_lines import FORMATS, NEEDLES, parse_line
from diag.model.crash import LogLine

AT = LogLine(file="log", line=1)

HEADS = {
    "none": "",
    "dmesg": "[  123.456789] ",
    "printk caller": "[  123.456789][  T77] ",
    "ring buffer": "<6>[  123.456789] ",
    "/dev/kmsg": "6,1234,123456789,-;",
    "dmesg -T": "[Thu Nov 26 06:27:50 2026] ",
    "dmesg -x": "kern  :info  : [  123.456789] ",
    "dmesg iso": "2026-11-26T06:27:50,123456+00:00 ",
    "dmesg -d": "[  123.456789 <    0.000012>] ",
    "dmesg -e": "[Nov26 06:27] ",
    "syslog": "Nov 26 06:27:50 web-01 kernel: [  123.456789] ",
    "syslog without clock": "Nov 26 06:27:50 web-01 kernel: ",
    "RFC 3164": "<6>Nov 26 06:27:50 web-01 kernel: [  123.456789] ",
    "RFC 5424": "<6>1 2026-11-26T06:27:50.123456+00:00 web-01 kernel - - - [  123.456789] ",
    "rsyslog iso": "2026-11-26T06:27:50.123456+00:00 web-01 kernel: [  123.456789] ",
    "journal monotonic": "[  123.456789] web-01 kernel: ",
    "journal full": "Thu 2026-11-26 06:27:50 UTC web-01 kernel: ",
    "journal unix": "1795674470.123456 web-01 kernel: ",
    "syslog-ng": "Nov 26 06:27:50 s_src@web-01 kernel: [  123.456789] ",
    "busybox": "Nov 26 06:27:50 web-01 kern.info kernel: [  123.456789] ",
    "OpenWrt": "Thu Nov 26 06:27:50 2026 kern.info kernel: [  123.456789] ",
    "with a pid": "2026-11-26T06:27:50+00:00 web-01 kern.info kernel[0]: ",
    "dmesg -x iso": "kern  :warn  : 2026-11-26T06:27:50,123456+00:00 ",
    "dmesg -T in French": "[jeu. nov. 26 06:27:50 2026] ",
    "RFC 5424 with data": '<6>1 2026-11-26T06:27:50.123456+00:00 web-01 kernel - - [meta id="1"] ',
    "with a year": "Nov 26 2026 06:27:50 web-01 kernel: ",
    "docker logs -t": "2026-11-26T06:27:50.123456789Z ",
    "docker compose": "log-1  | [  123.456789] ",
    "kubectl --prefix": "[pod/log-x/log] [  123.456789] ",
    "grep": "/var/log/messages-20261126:Nov 26 06:27:50 web-01 kernel: ",
    "journal export": "MESSAGE=",
    "CRI": "2026-11-26T06:27:50.123456789Z stdout F [  123.456789] ",
}
MAP = "libx.so.1[7f0000001000+2000]"
TRAP = "ip:401146 sp:7f0000f00000 error:0 in app[401000+1000]"
PPC = "at 7fff9c9b0000 nip 7fff9c8b0bc0 lr 7fff9c8b0ba0 code 2 in libx.so[7fff9c890000+30000]"
RSS = "total-vm:16kB, anon-rss:896kB, file-rss:128kB"
AUDIT = "audit(1574425270.503:4): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=2767"
MESSAGES: dict[str, dict[str, Any]] = {
    # arch/x86/mm/fault.c, kernel/traps.c, entry/vsyscall, and the older ages of the first.
    f"python[77]: segfault at 1b8 ip 00007f0000001010 sp 00007f0000f00000 error 4 in {MAP}": {
        "kind": "x86-segfault", "program": "python", "pid": 77, "address": "1b8", "library": "libx.so.1",
    },
    f"Web Content[77]: segfault at 1b8 ip 00007f0000001010 sp 00007f0000f00000 error 4 in {MAP} "
    "likely on CPU 3 (core 1, socket 0)": {"program": "Web Content", "cpu": 3, "map_base": "7f0000001000"},
    "python[77]: segfault at 00000000000001b8 rip 00007f0000001010 rsp 00007f0000f00000 error 4": {
        "kind": "x86-segfault", "ip": "00007f0000001010",
    },
    "python[77]: segfault at 000001b8 eip 08048010 esp bf000000 error 4": {"kind": "x86-segfault"},
    # %p of kernels before 2.6.39 pads a NULL with blanks.
    "python[77]: segfault at 0 ip           (null) sp 00007f0000f00000 error 14 in app[401000+1000]": {
        "kind": "x86-segfault", "ip": "0", "sp": "00007f0000f00000", "error": 20,
    },
    "python[77] bad frame in rt_sigreturn frame:7f0 ip:401146 sp:7f8 orax:ffffffffffffffff in app[401000+1000]": {
        "program": "python", "trap": "bad frame", "library": "app",
    },
    "python[77]: bad frame in rt_sigreturn frame:7f0 ip:401146 sp:7f8 orax:ffffffffffffffff": {"pid": 77},
    f"traps: python[77] trap divide error {TRAP}": {"program": "python", "trap": "trap divide error"},
    f"traps: python[77] trap stack segment {TRAP}": {"program": "python", "library": "app"},
    f"traps: python[77] trap of a later kernel {TRAP}": {"program": "python", "library": "app"},
    f"traps: python[77] iret exception {TRAP}": {"trap": "iret exception", "library": "app"},
    f"traps: python[77] VE fault {TRAP}": {"trap": "VE fault", "library": "app"},
    f"python[77] general protection {TRAP}": {"kind": "x86-trap", "program": "python", "pid": 77},
    "traps: python[77] control protection ip:401146 sp:7f0000f00000 ssp:7f0000e00000 error:1(near ret) "
    "in app[401000+1000]": {"kind": "x86-trap", "error": 1, "ssp": "7f0000e00000", "library": "app"},
    "python[77] vsyscall attempted with vsyscall=none ip:ffffffffff600400 cs:33 sp:7ffd0ef4a0f8 "
    "ax:ffffffffff600400 si:0 di:7ffd0ef4a110": {"program": "python", "ip": "ffffffffff600400", "signal": 11},
    # arch/sparc/mm/fault_64.c.
    "python[77]: segfault at 0 ip 00000000f7e3b8a4 (rpc 0000000000010dd4) sp 00000000ffb2e6a8 error 1 in "
    "libc.so.6[f7dc0000+154000]": {"ip": "00000000f7e3b8a4", "sp": "00000000ffb2e6a8", "library": "libc.so.6"},
    # arch/powerpc/kernel/traps.c, signame().
    f"python[77]: bus error (7) {PPC}": {"kind": "ppc", "program": "python", "signal": 7, "library": "libx.so"},
    f"python[77]: illegal instruction (4) {PPC}": {"kind": "ppc", "signal": 4},
    f"python[77]: floating point exception (8) {PPC}": {"kind": "ppc", "signal": 8},
    f"python[77]: unhandled trap (5) {PPC}": {"kind": "ppc", "signal": 5},
    f"python[77]: unknown signal (31) {PPC}": {"kind": "ppc", "signal": 31},
    # arch/arm64/kernel/traps.c; a fault without syndrome prints none.
    f"python[77]: unhandled exception: DABT (lower EL), ESR 0x0000000092000006, level 2 translation fault "
    f"in {MAP}": {"kind": "arm64", "esr": "0000000092000006", "library": "libx.so.1"},
    f"python[77]: unhandled exception: unknown or unrecoverable error in {MAP}": {
        "kind": "arm64", "program": "python", "fault": "unknown or unrecoverable error",
    },
    "python[77]: undefined instruction: pc=0000007f80001010": {
        "kind": "arm64", "program": "python", "signal": 4, "ip": "0000007f80001010",
    },
    "python[77]: unhandled signal 11 code 0x1 at 0x0000000000000008 in libx.so[1234,3fa0a70000+100000]": {
        "kind": "riscv", "address": "0000000000000008", "map_offset": "1234",
    },
    "User process fault: interruption code 003b ilc:3 in libx.so[1234,3ffb2e80000+100000]": {
        "kind": "s390", "interruption_code": "003b", "map_offset": "1234",
    },
    "User process fault: interruption code 0x6003B in libx.so[3ffb2e80000+100000]": {"library": "libx.so"},
    "User process fault: interruption code 003b ilc:3": {"kind": "s390"},
    "do_page_fault() command='python' type=15 address=0x00000008 in libx.so[f7dc0000+154000]": {
        "program": "python", "address": "00000008", "library": "libx.so",
    },
    "Unhandled prefetch abort: breakpoint debug exception (0x002) at 0x00008000": {"address": "00008000"},
    # mm/oom_kill.c, 2.6.18 to 6.x, and mm/memory-failure.c.
    f"Out of memory: Killed process 500 (python) {RSS}, shmem-rss:0kB, UID:33 pgtables:100kB "
    "oom_score_adj:0": {"kind": "oom", "program": "python", "pid": 500, "uid": 33, "anon_rss_kb": 896},
    "Out of memory: Kill process 500 (python) score 900 or sacrifice child": {"kind": "oom", "score": 900},
    "Out of memory: kill process 500 (python) score 900 or a child": {"kind": "oom", "program": "python"},
    "Out of Memory: Killed process 500 (python).": {"kind": "oom", "program": "python", "pid": 500},
    "Killed process 500 (python)": {"kind": "oom", "program": "python", "pid": 500},
    "Killed process 500 (python) vsz:16kB, anon-rss:896kB, file-rss:128kB": {"kind": "oom", "anon_rss_kb": 896},
    f"Killed process 500, UID 33, (python) {RSS}": {"kind": "oom", "uid": 33},
    f"Memory cgroup out of memory: Killed process 500 (my (odd) app) {RSS}, shmem-rss:0kB, UID:0": {
        "program": "my (odd) app", "cgroup": True,
    },
    f"Out of memory (oom_kill_allocating_task): Killed process 500 (python) {RSS}": {"kind": "oom"},
    "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a,"
    "task=python,pid=500,uid=0": {"kind": "oom", "program": "python", "pid": 500},
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,"
    "task=app,pid=500,uid=-2": {"program": "app", "uid": -2},
    "VM: killing process python": {"kind": "oom", "program": "python"},
    "MCE: Killing python:500 due to hardware memory corruption fault at 7f0000": {
        "program": "python", "pid": 500, "signal": 7, "address": "7f0000",
    },
    "Memory failure: 0x1234: Sending SIGBUS to python:500 due to hardware memory corruption": {
        "program": "python", "pid": 500, "signal": 7,
    },
    "PID 500 killed due to inadequate hugepage pool": {"pid": 500, "signal": 7},
    # kernel/hung_task.c.
    "INFO: task kworker/u8:3:500 blocked for more than 120 seconds.": {"program": "kworker/u8:3", "pid": 500},
    "INFO: task python:500 blocked in I/O wait for more than 120 seconds.": {"program": "python", "seconds": 120},
    "INFO: task python:500 is blocked on a mutex likely owned by task nginx:501.": {
        "program": "python", "lock": "mutex", "owner": "nginx", "owner_pid": 501,
    },
    "INFO: task python:500 <reader> blocked on an rw-semaphore likely owned by task nginx:501 <writer>": {
        "program": "python", "lock": "rw-semaphore", "owner": "nginx",
    },
    "INFO: task python:500 is blocked on a mutex likely owned by task kworker/4:1:501.": {
        "owner": "kworker/4:1", "owner_pid": 501,
    },
    # kernel/auditsc.c; names with blanks are printed in hexadecimal.
    f'audit: type=1701 {AUDIT} comm="app" exe="/opt/x" sig=6 res=1': {"program": "app", "signal": 6, "pid": 2767},
    f'audit: type=1701 {AUDIT} comm=57656220436F6E74656E74 exe="/opt/x" sig=11 res=1': {"program": "Web Content"},
    f'audit: type=1701 {AUDIT} comm="app" reason="memory violation" sig=11': {"program": "app", "signal": 11},
    f'audit: type=1326 {AUDIT} comm="app" exe="/usr/bin/app" sig=31 arch=c000003e syscall=56 compat=0 '
    "ip=0x7f1 code=0x80000000": {"program": "app", "signal": 31, "syscall": 56},
    # ausearch -i.
    "type=ANOM_ABEND msg=audit(11/26/2026 06:27:50.114:3319) : auid=unset uid=web gid=web ses=unset pid=2767 "
    "comm=app exe=/usr/bin/app sig=SIGSEGV res=yes": {"program": "app", "signal": 11, "exe": "/usr/bin/app"},
    "type=SECCOMP msg=audit(11/26/2026 06:27:50.114:3319) : auid=unset uid=web ses=unset pid=2767 comm=app "
    "exe=/usr/bin/app sig=SIGSYS arch=x86_64 syscall=ptrace compat=0 ip=0x7f1 code=kill_process": {
        "program": "app", "signal": 31, "syscall_name": "ptrace",
    },
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_read_behind_every_head(message: str) -> None:
    for name, head in HEADS.items():
        text = head + message
        event = parse_line(text, AT)
        assert event is not None, name
        told = {field: getattr(event, field) for field in event.__struct_fields__} | dict(event.details)
        assert {field: told.get(field) for field in MESSAGES[message]} == MESSAGES[message], name
        assert event.tag in {"kernel", None}, name
        assert any(needle in text for needle in NEEDLES), name


@pytest.mark.parametrize(
    "message",
    [
        "Out of memory: OOM victim 500 (python) is already exiting. Skip killing the task",
        f'audit: type=1326 {AUDIT} comm="app" exe="/usr/bin/app" sig=0 arch=c000003e syscall=56 compat=0 '
        "ip=0x7f1 code=0x7ffc0000",
        "x86/split lock detection: #AC: app/77 took a split_lock trap at address: 0x401146",
        "Memory failure: 0x1234: recovery action for dirty LRU page: Recovered",
        "umip: app[77] ip:401146 sp:7ffd0: SGDT instruction cannot be used by applications.",
        "monitor: I said: Killed process 500 (python) as you wished",
    ],
)
def test_what_the_kernel_says_of_no_death_counts_for_none(message: str) -> None:
    for head in HEADS.values():
        assert parse_line(head + message, AT) is None


def test_the_clock_of_a_kmsg_record_counts_microseconds() -> None:
    event = parse_line("6,1234,123456789,-;app[7]: segfault at 0 ip 0 sp 0 error 4", AT)
    assert event is not None
    assert event.uptime == "123.456789"


@pytest.mark.parametrize(
    "rest",
    [
        "    error 4 in libx.so[8558a40,790e2fd82000+c88e000]",
        "    sp 00007ffd22523860 error 6 in x.cpython-310.so[7fe919f75000+953000]",
        "                error 14 in prog3.5[55f0889ee000+3ef000]",
        "in _x_internal.so[7fa144236000+410c000]",
        "level 2 translation fault in netd[aaaac0000000+30000]",
    ],
)
def test_the_rest_of_a_torn_line_has_a_needle_of_its_own(rest: str) -> None:
    assert any(needle in rest for needle in NEEDLES)
    event = parse_line(rest, AT)
    assert event is not None
    assert (event.form, event.role.value) == ("rest", "context")
    assert event.map_base


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        # Somebody left numbers out, changed their order, or lost the brackets.
        (
            "app[77]: segfault at 1b8 ... error 4 in libx.so.1",
            {"program": "app", "pid": 77, "address": "1b8", "error": 4, "ip": None},
        ),
        (
            "Nov 26 06:27:50 app[77]:  segfault at ffff in libx.so[...+188000] error 5 likely on CPU 10 (core 20)",
            {"program": "app", "pid": 77, "address": "ffff", "error": 5, "cpu": 10, "library": None},
        ),
        (
            "kernel: 24234.453256 app9077: segfault at 0 ip (null) sp 7ffb7d843488 error 14 in app[400000+2bc000]",
            {"program": None, "pid": None, "sp": "7ffb7d843488", "error": 20, "library": "app"},
        ),
        ("it says `app[77]: segfault at 28 ... error 4 in app`.", {"program": "app", "error": 4}),
    ],
)
def test_what_is_left_of_a_line_is_read_wherever_it_stands(text: str, fields: dict[str, Any]) -> None:
    event = parse_line(text, AT)
    assert event is not None
    told = {field: getattr(event, field) for field in event.__struct_fields__} | dict(event.details)
    assert {name: told.get(name) for name in fields} == fields
    assert (event.kind, event.role.value) == ("truncated", "crash")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("error 4 in app ... likely on CPU 8 (core 16, socket 0)", {"error": 4, "cpu": 8}),
        ("`ip 000070dfc7a90b00 ... error 15 in libx.so.6[290b00,...]`, that is", {"ip": "000070dfc7a90b00"}),
        (
            "app[...]: segfault at <any> ip ...15d58 sp ... error 4 in libx.so[415d58,...] likely on CPU 6",
            {"cpu": 6},
        ),
    ],
)
def test_pieces_of_lines_are_read_and_count_for_no_crash(text: str, fields: dict[str, Any]) -> None:
    event = parse_line(text, AT)
    assert event is not None
    told = {field: getattr(event, field) for field in event.__struct_fields__} | dict(event.details)
    assert {name: told.get(name) for name in fields} == fields
    assert event.role.value == "context"


@pytest.mark.parametrize("head", ["user  :info  : [  123.456789] ", "<14>[  123.456789] "])
def test_what_a_program_wrote_to_kmsg_is_no_word_of_the_kernel(head: str) -> None:
    event = parse_line(head + "app[77]: segfault at 0 ip 0 sp 0 error 4", AT)
    assert event is not None
    assert event.tag == "a program through /dev/kmsg"


def test_a_program_that_quotes_a_line_in_its_own_log_is_not_the_kernel() -> None:
    for head in (
        "[2026-11-26 06:27:50,123] INFO in app: a user said ",
        "2026-11-26 06:27:50 WARNING got the log: ",
    ):
        event = parse_line(f"{head}app[77]: segfault at 0 ip 0 sp 0 error 4", AT)
        assert event is not None
        assert (event.program, event.tag) == ("app", "a program that quotes it")


def test_two_lines_in_one_give_the_first_and_no_mixture() -> None:
    first = "kernel: app[77]: segfault at 0 ip 0 sp 0 error 4 in liba.so[7f00+1000]"
    event = parse_line(f"{first} {first.replace('liba', 'libb')}", AT)
    assert event is not None
    assert (event.program, event.library) == ("app", "liba.so")


def test_who_passed_a_line_on_is_not_its_program() -> None:
    event = parse_line("Nov 26 06:27:50 web-01 relay[5]: app[77]: segfault at 0 ip 0 sp 0 error 4", AT)
    assert event is not None
    assert (event.program, event.tag) == ("app", "relay")


def test_every_pattern_compiles_and_every_format_can_be_found() -> None:
    for form in FORMATS:
        re.compile(form.pattern)
        assert form.needles
