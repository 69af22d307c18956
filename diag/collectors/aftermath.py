"""What follows a crash line and belongs to it: its torn rest, registers, what a runtime says of itself.

A log's lines are handed over with what follows them where ``wanted`` asks for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.collectors import backtrace, log_wrapping, python_dump
from diag.collectors.crash_format import HEX

if TYPE_CHECKING:
    from collections.abc import Callable

    from diag.model.crash import CrashEvent

    Parse = Callable[[str], CrashEvent | None]

_REST = 400  # bytes in which the rest of a torn line is looked for
_REGISTERS = 4096
_SAYS = 1200
_BACKTRACED = (b"got Segmentation Fault !!!", b"*** Error in `", b"*** glibc detected ***")
_DUMP = 64 << 10
_WRAPPED = 3  # lines over which a mail or a terminal spreads one

# The next line is a line of its own: a clock, a date, a priority, a record.
_HEADS = re.compile(
    r"\[\s*\d+\.\d|\[[A-Z][a-z]|<\d+>|\{\"|.*\bkernel:|[A-Z][a-z]{2} [ \d]\d |\d{4}-\d\d|\d+,\d+,"
)
_MAPPED = re.compile(r"\s*in \S.*\[.*\+")
_COMM = re.compile(r"\bCPU: \d+ .{0,40}?\bPID: (\d+) Comm: (.{1,15}?) (?:Not tainted|Tainted|Kdump|\d)")
# arm64 and arm: "pc : 0000…" or "pc : [<…>]"; s390: "User PSW : mask address"; riscv and mips: "epc :".
_IP = re.compile(
    rf"\bpc : (?:\[<)?({HEX})|\bUser PSW : {HEX} ({HEX})|\bepc ?: ({HEX})|\bera\s+[=:]? ?({HEX})"
)
_SP = re.compile(rf"(?<![a-z])sp : ({HEX})")
# What runtimes write some lines below: the JVM's frame, what a C++ exception said.
_SAID = {
    "jvm": re.compile(r"# Problematic frame:\s*\n# (\S[^\n]{0,300})"),
    "terminate": re.compile(r"^ {0,4}what\(\): +([^\n]{1,300})", re.MULTILINE),
}
_NO_ADDRESS = ("arm64", "s390", "riscv", "other-arch")


def wanted(line: bytes) -> int:
    """Tell how many bytes of what follows a line could belong to it."""
    if b"]: segfault at" in line:
        return 0 if line.rstrip().endswith((b"]", b")")) else _REST
    if b"Fatal Python error: " in line:
        return _DUMP
    if b"] trap " in line or b"] general protection" in line:
        return 0 if line.rstrip().endswith((b"]", b")")) else _REST
    if any(words in line for words in _BACKTRACED):
        return _REGISTERS
    if b" at pc=0x" in line or b"terminate called after" in line:
        return _SAYS
    if b"unhandled " in line or b"User process fault" in line or b"undefined instruction" in line:
        return _REGISTERS
    return 0


def complete(event: CrashEvent, text: str, after: str, parse: Parse) -> CrashEvent:
    """Add to an event what stands behind its line; ``parse`` reads a line anew."""
    if event.form == "python-fatal":
        threads, modules = python_dump.parse(after)
        more = (("extension_modules", modules),) if modules else ()
        return replace(event, threads=threads, details=(*event.details, *more))
    if event.form == "glibc" and event.detail("pointer"):
        return _told_on(event, after)
    if event.form == "uwsgi-segv":
        return _called(event, after)
    if pattern := _SAID.get(event.form):
        said = pattern.search(after[:_SAYS])
        return replace(event, text=f"{event.text} {said[1].strip()}") if said else event
    if event.kind in _NO_ADDRESS:
        return _registers(event, after)
    if event.kind in {"truncated", "x86-segfault", "x86-trap"} and event.map_base is None:
        return _whole(event, text, after, parse)
    return event


def _whole(event: CrashEvent, text: str, after: str, parse: Parse) -> CrashEvent:
    """Join a line that was broken in two, where the rest has no head of its own."""
    joined = (text, text + " ")
    for rest in after.split("\n")[:_WRAPPED]:
        line = rest.strip()
        if not line or _HEADS.match(rest) or (event.kind != "truncated" and not _MAPPED.match(rest)):
            break
        joined = (joined[0] + line, joined[1] + line + " ")
        for candidate in joined:
            found = parse(candidate.rstrip())
            if found and found.kind != "truncated" and (found.map_base or event.kind == "truncated"):
                return replace(found, text=f"{text} {line}")
    return event


def _told_on(event: CrashEvent, after: str) -> CrashEvent:
    """Take who called the allocator from the stack that glibc wrote until 2.25 (debug/backtrace.c)."""
    frame = backtrace.caller(backtrace.parse(after))
    if frame is None or frame.library is None:
        return event
    said = f"{event.text} {frame.library}({frame.function or ''})"
    return replace(event, text=said, details=(*event.details, ("called_by", frame.library)))


def _called(event: CrashEvent, after: str) -> CrashEvent:
    """Take the place from the stack that uWSGI writes of itself (core/uwsgi.c, uwsgi_segfault)."""
    found = backtrace.faulted(backtrace.parse(after), "uwsgi_")
    if found is None:
        return event
    inner, named = found
    if inner.library is None:  # it executed what is no file's code
        text = f"{event.text} [0x{inner.address}]"
        return replace(event, ip=inner.address, text=text, details=(*event.details, ("nowhere", True)))
    function = ((("function" if inner.function else "caller"), named),) if named else ()
    said = f"{event.text} {inner.library}{f'({named})' if named else ''}"
    return replace(event, library=inner.library, text=said, details=(*event.details, *function))


def _registers(event: CrashEvent, after: str) -> CrashEvent:
    """Take who it was and where from the registers that other architectures print below."""
    near = "\n".join(after[:_REGISTERS].split("\n")[:30])
    comm = _COMM.search(near)
    if comm and event.pid not in {None, int(comm[1])}:
        return event
    pid, program = event.pid, event.program
    if comm:
        pid, program = int(comm[1]), program or comm[2]
    elif event.kind == "s390":
        return event
    ip, sp = _IP.search(near), _SP.search(near)
    return replace(
        event,
        pid=pid,
        program=program,
        ip=event.ip or (next(group for group in ip.groups() if group) if ip else None),
        sp=event.sp or (sp[1] if sp else None),
    )


def unwrapped(after: str) -> str:
    """Take each line out of its container's wrapping."""
    return "\n".join(log_wrapping.unwrap(line) for line in after.split("\n"))
