"""What the x86 kernel writes when a thread of a program faults.

``segfault at`` is show_signal_msg() of arch/x86/mm/fault.c; ``traps:`` is show_signal() of
arch/x86/kernel/traps.c. Both name the *thread* (comm and thread id). ``error`` is hexadecimal.
"""

from __future__ import annotations

from diag.collectors.crash_format import HEX, MAP, Format
from diag.model.crash import Role

_CPU = r"(?: likely on CPU (?P<cpu>\d+) \(core (?P<core>\d+), socket (?P<socket>\d+)\))?"
_BARE = r" in (?P<bare>[\w.+-]+\.so(?:\.\d+)*)(?=$)"  # its mapping was cut off
_END = r"(?=\s*(?:$|['\"`<#(\[])|\s+kernel: )"
# The names of arch/x86/kernel/traps.c.
_TRAP = (
    r"(?P<trap>general protection(?: fault)?|control protection|trap (?:divide error|int3|overflow|"
    r"bounds|invalid opcode|coprocessor segment overrun|invalid TSS|segment not present|"
    r"stack segment|alignment check|[a-z][a-z ]{2,40}?)|iret exception|[A-Z]\w{1,8} fault)"
)
_TRAPS = ("] trap ", "l protection", "] iret ex", " fault")
_NO_ELLIPSIS = r"(?!.{0,300} (?:[re]?ip|sp):[0-9a-f]*\.\.)"  # prose about such lines
_IP = rf"[re]?ip +(?P<ip>{HEX}|\(null\))"  # %p of old kernels pads a NULL with blanks
_ERROR = rf"error (?P<error_raw>{HEX})"


def _somewhere(field: str) -> str:
    """Match a field where it is, if it is whole: somebody left others out, or changed their order."""
    return rf"(?=(?:(?:(?!segfault at).)*? {field}(?=[\s`'\"]))?)"


FORMATS = (
    Format(
        "x86-segfault",
        "segfault",
        Role.CRASH,
        ("segfault at",),
        (
            rf"\[(?P<pid>\d+)\]: segfault at (?P<address>{HEX}) {_IP} "
            rf"(?:\(rpc (?P<rpc>{HEX})\) )?[re]?sp (?P<sp>{HEX}) {_ERROR}"
            rf"(?:{MAP})?{_CPU}{_END}"
        ),
        fixed={"signal": 11},
        comm=True,
    ),
    Format(
        "x86-trap",
        "trap",
        Role.CRASH,
        _TRAPS,
        (
            rf"(?:\[(?P<pid>\d+)|(?<=[^\s\[\]\d])\d{{1,10}})\] {_TRAP} "
            rf"r?ip:(?P<ip>{HEX}|X+) r?sp:(?P<sp>{HEX}|X+) (?:ssp:(?P<ssp>{HEX}) )?"
            rf"error:(?P<error_raw>{HEX})(?:\((?P<cause>[\w /-]+)\))?"
            rf"(?:{MAP}|{_BARE})?{_CPU}{_END}"
        ),
        comm=True,
    ),
    Format(
        "x86-trap",
        "bad-frame",
        Role.CRASH,
        (" bad frame in ",),
        (
            rf"\[(?P<pid>\d+)\]:? bad frame in (?P<call>\w+) frame:(?P<address>{HEX}) "
            rf"ip:(?P<ip>{HEX}) sp:(?P<sp>{HEX}) orax:{HEX}(?:{MAP})?"
        ),
        fixed={"trap": "bad frame"},
        comm=True,
    ),
    # arch/x86/entry/vsyscall/vsyscall_64.c: programs for very old C libraries.
    Format(
        "x86-trap",
        "vsyscall",
        Role.CRASH,
        ("] vsyscall ",),
        (rf"\[(?P<pid>\d+)\] (?P<trap>vsyscall [^:]+?) ip:(?P<ip>{HEX}) cs:{HEX} sp:(?P<sp>{HEX}) "),
        fixed={"signal": 11},
        comm=True,
    ),
    Format(
        "x86-segfault",
        "grsec",
        Role.REPORT,
        ("gmentation ",),
        (
            rf"grsec: Segmentation fault occurred at (?P<address>{HEX}) in "
            r"(?P<exe>/.*?)\[(?P<program>[^\]]+):(?P<pid>\d+)\]"
        ),
        fixed={"signal": 11},
    ),
    # Lines that somebody or something cut short: what stands before a blank is whole.
    Format(
        "truncated",
        "segfault",
        Role.CRASH,
        ("segfault at",),
        (
            rf"\[(?P<pid>\d+)\]: +segfault at(?: (?P<address>{HEX})(?=\s))?"
            rf"{_somewhere(_IP)}{_somewhere(rf'[re]?sp (?P<sp>{HEX})')}{_somewhere(_ERROR)}"
            rf"(?=(?:(?:(?!segfault at).)*?{MAP})?){_somewhere(r'likely on CPU (?P<cpu>[0-9]+)')}"
        ),
        fixed={"signal": 11},
        comm=True,
    ),
    # Its brackets were lost on the way, so where the name ends and the number begins is, too.
    Format(
        "truncated",
        "segfault",
        Role.CRASH,
        ("segfault at",),
        (rf"(?<=\w): segfault at (?P<address>{HEX}) {_IP} [re]?sp (?P<sp>{HEX}) {_ERROR}{MAP}{_CPU}{_END}"),
        fixed={"signal": 11},
    ),
    # One line that stands for several: its numbers were left out.
    Format(
        "truncated",
        "segfault",
        Role.CONTEXT,
        ("segfault at",),
        (
            rf"\[\.\.\.\]: segfault at .{{0,200}}? {_ERROR} in .{{0,300}} likely on CPU (?P<cpu>\d+)"
            r"(?: \(core (?P<core>\d+))?"
        ),
        fixed={"signal": 11},
    ),
    Format(
        "truncated",
        "trap",
        Role.CRASH,
        _TRAPS,
        (
            rf"\[(?P<pid>\d+)\] {_NO_ELLIPSIS}{_TRAP.replace('?P<trap>', '?:')}(?=\s|$)"
            rf"(?: r?ip:(?P<ip>{HEX})(?=\s))?(?: r?sp:(?P<sp>{HEX})(?=\s))?"
            rf"(?: error:(?P<error_raw>{HEX})(?=\s))?"
        ),
        comm=True,
    ),
    # Two threads that fault at once tear each other's lines (measured on 6.x; fault.c prints the
    # mapping with a second printk).
    Format(
        "truncated",
        "rest",
        Role.CONTEXT,
        ("]  in ", "y on CPU ", ".so[", "r 14 in ", "r 15 in ", " fault"),
        (
            rf"(?:^|(?<=\] )|(?<=^'))\s*(?:sp (?P<sp>{HEX}) )?(?:error (?P<error_raw>{HEX}))?"
            rf"(?:level \d translation fault)?(?:{MAP.replace(' in', ' ?in', 1)}){_CPU}"
        ),
    ),
    Format(
        "truncated",
        "rest",
        Role.CONTEXT,
        ("y on CPU ", "r 14 in ", "r 15 in "),
        (rf"^[\s`'\"]*(?:{_IP} \.\.\. )?{_ERROR} in \S+(?: \.\.\.)?{_CPU}(?=$|[\s`'\",])"),
    ),
)
