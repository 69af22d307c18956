"""Faults as the kernels of other architectures write them."""

from __future__ import annotations

from diag.collectors.crash_format import HEX, MAP, Format
from diag.model.crash import Role

_SIGNAME = "segfault|bus error|illegal instruction|floating point exception|unknown signal"
_PPC = rf"nip (?P<ip>{HEX}) lr (?P<lr>{HEX})"

FORMATS = (
    # arch/arm64/mm/fault.c, until 4.17.
    Format(
        "arm64",
        "old",
        Role.CRASH,
        ("]: unhandled ",),
        (
            rf"\[(?P<pid>\d+)\]: unhandled (?P<fault>[\w ,/-]+?) \((?P<signal>\d+)\) "
            rf"at 0x(?P<address>{HEX}), esr 0x(?P<esr>{HEX})(?:,{MAP})?"
        ),
        comm=True,
    ),
    # arch/arm64/kernel/traps.c, arm64_show_signal(); no address is printed.
    Format(
        "arm64",
        "new",
        Role.CRASH,
        ("]: unhandled ",),
        (
            rf"\[(?P<pid>\d+)\]: unhandled exception: (?:.*?, ESR 0x(?P<esr>{HEX}), )?"
            rf"(?P<fault>[^,]+?)(?:{MAP}|$)"
        ),
        comm=True,
    ),
    # arch/arm64/kernel/traps.c, do_undefinstr(), until 4.18.
    Format(
        "arm64",
        "undefined",
        Role.CRASH,
        (": undefined instruction: pc=",),
        (rf"\[(?P<pid>\d+)\]: undefined instruction: pc=(?:0x)?(?P<ip>{HEX})"),
        fixed={"signal": 4, "fault": "undefined instruction"},
        comm=True,
    ),
    # arch/powerpc/kernel/traps.c, show_signal_msg().
    Format(
        "ppc",
        "segfault",
        Role.CRASH,
        (" nip ",),
        (
            rf"\[(?P<pid>\d+)\]: (?P<fault>{_SIGNAME}) \((?P<signal>\d+)\) at (?P<address>{HEX}) {_PPC} "
            rf"code (?P<code>{HEX})(?:{MAP})?"
        ),
        comm=True,
    ),
    Format(
        "ppc",
        "unhandled",
        Role.CRASH,
        (" nip ",),
        (
            rf"\[(?P<pid>\d+)\]: unhandled (?:signal |[a-z ]+ \()(?P<signal>\d+)\)? "
            rf"at (?P<address>{HEX}) {_PPC} code (?P<code>{HEX})(?:{MAP})?"
        ),
        comm=True,
    ),
    Format(
        "ppc",
        "bad-frame",
        Role.CRASH,
        (" nip ",),
        (rf"\[(?P<pid>\d+)\]: bad frame in \w+: (?P<address>{HEX}) {_PPC}"),
        comm=True,
    ),
    Format(
        "truncated",
        "segfault",
        Role.CRASH,
        (" nip ",),
        (
            rf"\[(?P<pid>\d+)\]: segfault \((?P<signal>\d+)\) at (?P<address>{HEX}) "
            rf"nip (?P<ip>{HEX}) lr "
        ),
        comm=True,
    ),
    # arch/riscv/kernel/traps.c, do_trap().
    Format(
        "riscv",
        "signal",
        Role.CRASH,
        ("]: unhandled ",),
        (
            r"\[(?P<pid>\d+)\]: unhandled signal (?P<signal>\d+) code 0x(?P<code>[0-9a-f]+) "
            rf"at 0x(?P<address>{HEX})(?:{MAP}|$|\s)"
        ),
        comm=True,
    ),
    # arch/s390/kernel/traps.c, report_user_fault(); the registers follow on lines of their own.
    Format(
        "s390",
        "fault",
        Role.CRASH,
        (" fault",),
        (
            r"User process fault: interruption code (?:0x)?(?P<interruption_code>[0-9a-fA-F]{2,8})"
            rf"(?: ilc:\d)?(?:{MAP}| *$)"
        ),
    ),
    # arch/arm/mm/fault.c and arch/arm/kernel/traps.c (CONFIG_DEBUG_USER).
    Format(
        "other-arch",
        "arm32-page-fault",
        Role.CRASH,
        (") at 0x",),
        (
            rf": unhandled page fault \((?P<signal>\d+)\) at 0x(?P<address>{HEX}), "
            rf"code 0x(?P<code>{HEX})"
        ),
        comm=True,
    ),
    Format(
        "other-arch",
        "arm32-undef",
        Role.CRASH,
        (": undefined instruction: pc=",),
        (rf" \((?P<pid>\d+)\): undefined instruction: pc=(?P<ip>{HEX})"),
        fixed={"signal": 4},
        comm=True,
    ),
    Format(
        "other-arch",
        "arm32-unhandled-fault",
        Role.CRASH,
        (") at 0x",),
        (
            rf"Unhandled (?:fault|prefetch abort): (?P<fault>.+?) \(0x(?P<code>{HEX})\) "
            rf"at 0x(?P<address>{HEX})"
        ),
    ),
    # arch/mips/mm/fault.c and arch/loongarch/mm/fault.c: three lines; the first names the program.
    Format(
        "other-arch",
        "mips",
        Role.CRASH,
        ("(): ",),
        (
            r"do_page_fault\(\): sending SIGSEGV to (?P<program>.+?) for invalid "
            rf"(?P<access>read|write) access (?:from|to) (?P<address>{HEX})(?=\s|$)"
        ),
        fixed={"signal": 11},
    ),
    Format(
        "other-arch",
        "mips-regs",
        Role.CONTEXT,
        ("epc = ", "era = ", "ra  = "),
        (rf"\b(?:(?:epc|era)\s+= (?P<ip>{HEX})|ra\s+= (?P<ra>{HEX})){MAP}"),
    ),
    # arch/parisc/mm/fault.c.
    Format(
        "other-arch",
        "parisc",
        Role.CRASH,
        ("(): ", "_fault() command="),
        (
            r"do_page_fault\(\) command='(?P<program>.+?)' type=\d+ "
            rf"address=0x(?P<address>{HEX})(?:{MAP})?"
        ),
        fixed={"signal": 11},
    ),
    # Cut short.
    Format(
        "truncated",
        "unhandled",
        Role.CRASH,
        ("]: unhandled ",),
        (
            rf"\[(?P<pid>\d+)\]: unhandled (?:signal (?P<signal>\d+) code 0x{HEX} at|"
            rf"[a-z0-9 ]+ fault \((?P<signal_name>\d+)\) at 0x(?P<address>{HEX})(?=,|$))(?![^,]*\]$)"
        ),
        comm=True,
    ),
)
