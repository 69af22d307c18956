"""What a format of a crash line is, and how a line is matched against one.

A format is a regular expression whose group names are field names of ``CrashEvent``; other names
become details. Its needles are literal texts, one of which every such line holds: logs are searched
for needles only, and nothing else of a log is ever looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from diag.collectors import log_line, syscalls
from diag.model.crash import CrashEvent, LogLine, Role, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

HEX = "[0-9a-f]+"
MAP = (
    rf" in (?P<library>(?=\S)(?:(?!\+{HEX}\]).){{1,300}}?)\[(?:(?P<map_offset>{HEX}),)?"
    rf"(?P<map_base>{HEX})\+(?P<map_size>{HEX})\]"
)
"""print_vma_addr() of mm/memory.c; the offset into the file came with Linux 6.0 and backports."""

QUOTING = "a program that quotes it"
"""Who wrote a line of which more than its head stands before the thread's name."""

COMM = 15  # TASK_COMM_LEN of the kernel, less its NUL

SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
    "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "XCPU": 24, "SYS": 31,
}  # fmt: skip
"""x86 and ARM numbers, signal(7)."""

_WORDS = {  # strsignal(3), in small letters
    "illegal instruction": 4,
    "illegal hardware instruction": 4,
    "trace/breakpoint trap": 5,
    "trace/bpt trap": 5,
    "aborted": 6,
    "abort": 6,
    "bus error": 7,
    "floating point exception": 8,
    "arithmetic exception": 8,
    "killed": 9,
    "segmentation fault": 11,
    "bad system call": 31,
}
_MACHINES = {"c000003e": "x86_64", "c00000b7": "aarch64", "c00000f3": "riscv64"}
"""AUDIT_ARCH_* of include/uapi/linux/audit.h."""

_ENDINGS = frozenset({1, 2, 13, 15})  # signals by which services are stopped, not crashes
_NUMBERS = frozenset(
    {
        "pid",
        "cpu",
        "core",
        "socket",
        "job",
        "uid",
        "score",
        "suppressed",
        "anon_rss_kb",
        "exitcode",
        "seconds",
        "owner_pid",
        "syscall",
    }
)
# A pattern may have a field in two forms, but a name for a group only once.
_OTHERWISE = (("bare", "library"), ("bare_name", "program"), ("bare_exe", "exe"))
_CONVERTED = _NUMBERS | {"signal", "cgroup"}
_FIELDS = frozenset(CrashEvent.__struct_fields__)
_HEXADECIMAL = re.compile(HEX)
_TOKEN = re.compile(r"[<(]([0-9a-f]+)[>)]")  # the byte or word at ip
_PROMPT = re.compile(r"^(?:[-#*]+>?\s+|//|[\s>`'\]]+)+")  # what people's messages put before a line
# What may stand directly before a thread's name in a kernel line.
_BEFORE_COMM = re.compile(
    r".*(?:\bkernel(?: - - -|(?:\[\d+\])?:)|\btraps:|\bMessage:|\]|^\S+\s+\|)\s+", re.DOTALL
)


class Format(NamedTuple):
    """One form of line."""

    kind: str
    form: str
    role: Role
    needles: tuple[str, ...]
    pattern: str  # compiled when a line first asks for it: to compile all takes as long as to search 60 MB
    fixed: Mapping[str, Any] = {}  # fields that the form itself tells
    comm: bool = False  # the thread's name ends where the match begins
    anywhere: bool = True  # False: the match must begin the message


def event(line: log_line.Line, match: re.Match[str], form: Format, at: LogLine) -> CrashEvent | None:
    """Turn a match into an event; None where it is quoted, or no crash after all."""
    if log_line.quoted(line.text, match.start()):
        return None
    if not form.anywhere and not log_line.begins_message(line, match.start()):
        return None
    fields = _fields(match, form)
    if form.role is Role.REPORT and fields.get("signal") in _ENDINGS:
        return None
    tag = line.tag
    if form.comm:
        fields["program"], quoting = _comm(line, match.start())
        tag = tag or (QUOTING if quoting and line.log_time else None)
    more = fields.keys() - _FIELDS
    details = tuple((name, fields.pop(name)) for name in list(fields) if name in more) if more else ()
    return CrashEvent(
        at=at,
        kind=form.kind,
        form=form.form,
        role=form.role,
        text=line.text,
        log_time=line.log_time,
        uptime=line.uptime,
        tag=tag,
        details=details,
        **fields,
    )


def _fields(match: re.Match[str], form: Format) -> dict[str, Any]:
    fields: dict[str, Any] = dict(form.fixed)
    for name, text in match.groupdict().items():
        if text is not None:
            fields[name] = _value(name, text) if name in _CONVERTED else text
    if fields.get("ip") == "(null)":  # %p of kernels before 2.6.3x
        fields["ip"] = "0"
    for name in ("ip", "sp"):
        if name in fields and not _HEXADECIMAL.fullmatch(fields[name]):  # redacted by who posted it
            del fields[name]
    if "status" in fields:  # a shell's: 128 and the number of the signal
        fields["signal"] = int(fields.pop("status")) - 128
    if "signal_name" in fields:
        fields["signal"] = signal_number(fields.pop("signal_name"))
    if "program_bytes" in fields:  # audit prints names with blanks or quotes in hexadecimal
        fields["program"] = bytes.fromhex(fields.pop("program_bytes")).decode("utf-8", "replace")
    if "memory_uid" in fields:
        fields["uid"] = int(fields.pop("memory_uid"))
    if "syscall" in fields and (machine := _MACHINES.get(fields.get("arch", ""))):
        fields["syscall_name"] = syscalls.name_of(fields["syscall"], machine) or "?"
    for name, meant in _OTHERWISE:
        if name in fields:
            fields[meant] = fields.pop(name)
    if "code" in fields and (token := _TOKEN.search(fields["code"])):
        fields["fault_token"] = token[1]
    if error := fields.get("error_raw"):
        fields["error"] = int(error, 16)
    return fields


def _value(name: str, text: str) -> Value:
    if name == "signal":
        return signal_number(text)
    if name == "cgroup":
        return True
    return int(text) if name in _NUMBERS else text


def signal_number(text: str) -> int:
    """Read a signal as number, name (SIGSEGV, SEGV) or in words; 0 if it is none of these."""
    if text.lstrip("-").isdigit():
        return abs(int(text))
    return SIGNALS.get(text.upper().removeprefix("SIG")) or _WORDS.get(text.lower().strip(), 0)


def _comm(line: log_line.Line, end: int) -> tuple[str | None, bool]:
    """Cut the name of a thread, which may hold blanks, colons and brackets, out of what is before.

    It ends at ``end`` and has at most 15 bytes. Also tells whether other text stands before it.
    """
    before = line.text[line.start : end]
    if not line.text[:end].strip():
        return None, False
    if not (line.uptime or line.log_time or line.tag):  # people quote lines without their head
        before = before.rpartition("`")[2].lstrip("'\"")
    if found := _BEFORE_COMM.match(before):
        before = before[found.end() :]
    elif log_line.has_host(line) and before[:1] == " " and before.count(" ") > 1:
        before = before.strip().partition(" ")[2]  # the host's name
        # Who passed the line on: "host docker[2]: python[77]: segfault at ...".
        before = re.sub(rf"^{re.escape(line.tag or '')}(?:\[\d+\])?: +", "", before)
    name = _PROMPT.sub("", before)
    quoting = len(name.encode()) > COMM
    if quoting:
        name = name.split()[-1]
    return name.strip()[-COMM:] or None, quoting
