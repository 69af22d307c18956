"""Kernel lines about threads that hang, or died as others saw it, and what stands around a fault."""

from __future__ import annotations

from diag.collectors.crash_format import HEX, Format
from diag.model.crash import Role

_BYTE = r"(?:<[0-9a-f]{2,8}>|\([0-9a-f]{2,8}\)|[0-9a-f]{8}|[0-9a-f]{2})"
_BYTES = rf"{_BYTE}(?: +{_BYTE}){{3,}}"

# ausearch -i prints names without quotes, and signals and system calls by name.
_COMM = r"comm=(?:\\?\"(?P<program>.+?)\\?\"|(?P<program_bytes>(?:[0-9A-F]{2})+)(?= )|(?P<bare_name>\S+))"
_EXE = r"exe=(?:\\?\"(?P<exe>.+?)\\?\"|[0-9A-F]+(?= )|(?P<bare_exe>/\S+))"

FORMATS = (
    # kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/tree_stall.h.
    Format(
        "hung-task",
        "hung",
        Role.CONTEXT,
        ("INFO: task ",),
        (
            r"INFO: task (?P<program>.{1,64}):(?P<pid>\d+) (?:<\w+> )?blocked (?:in I/O wait )?for more than "
            r"(?P<seconds>\d+) seconds"
        ),
    ),
    # Since 6.15: what it waits for, and who has that.
    Format(
        "hung-task",
        "owner",
        Role.CONTEXT,
        ("INFO: task ",),
        (
            r"INFO: task (?P<program>.{1,64}?):(?P<pid>\d+) (?:<\w+> )?(?:is )?blocked on an? "
            r"(?P<lock>[\w -]{1,60}?)(?: likely (?:last held|owned) by (?:<\w+> )?task "
            r"(?P<owner>.{1,64}):(?P<owner_pid>\d+)(?=[\s.]|$)|, but the owner is not found)"
        ),
    ),
    Format(
        "hung-task",
        "soft-lockup",
        Role.CONTEXT,
        ("BUG: soft lockup",),
        (
            r"BUG: soft lockup - CPU#(?P<cpu>\d+) stuck for (?P<seconds>\d+)s! "
            r"\[(?P<program>.{1,64}):(?P<pid>\d+)\]"
        ),
    ),
    Format(
        "hung-task",
        "stall",
        Role.CONTEXT,
        ("hard LOCKUP on cpu", "O: rcu_"),
        (
            r"Watchdog detected hard LOCKUP on cpu (?P<cpu>\d+)|"
            r"INFO: rcu_\w+ (?:self-detected stall on CPU|detected stalls on CPUs)"
        ),
    ),
    # kernel/auditsc.c, audit_core_dumps(): names the process, with its real pid. Names with blanks are
    # printed in hexadecimal; until 3.10 there is no exe, and a reason stands before the signal.
    Format(
        "coredump",
        "audit-anom-abend",
        Role.REPORT,
        (" sig=",),
        (
            rf"(?:\btype=(?:1701|ANOM_ABEND)|\bANOM_ABEND) .{{0,600}}?\bpid=(?P<pid>\d+) {_COMM}"
            rf"(?: {_EXE})?(?: reason=\\?\"[^\"]*\")? sig=(?P<signal>\d+|SIG[A-Z]+)"
        ),
    ),
    # kernel/auditsc.c, audit_seccomp(): sig=0 tells of a call that was only noted.
    Format(
        "coredump",
        "audit-seccomp",
        Role.REPORT,
        (" sig=",),
        (
            rf"(?:\btype=(?:1326|SECCOMP)|\bSECCOMP) .{{0,600}}?\bpid=(?P<pid>\d+) {_COMM}(?: {_EXE})? "
            r"sig=(?P<signal>[1-9]\d*|SIG[A-Z]+) arch=(?P<arch>\w+) "
            r"syscall=(?:(?P<syscall>\d+)|(?P<syscall_name>[a-z]\w*)) compat=\d+ "
            rf"ip=0x(?P<ip>{HEX})"
        ),
    ),
    # init/version.c, the first line of each boot.
    Format(
        "boot",
        "linux-version",
        Role.CONTEXT,
        ("ux version ",),
        (r"Linux version (?P<release>\d[\w.+~-]*) \("),
        anywhere=False,
    ),
    # kernel/signal.c, print_fatal_signal().
    Format(
        "coredump",
        "fatal-signal",
        Role.CONTEXT,
        ("xpected fatal signal ",),
        (r"potentially unexpected fatal signal (?P<signal>\d+)\."),
    ),
    # What stands around a fault: the bytes at ip, and how many lines were left out.
    Format(
        "code",
        "opcode",
        Role.CONTEXT,
        ("Code: ",),
        (rf"\bCode: (?P<code>{_BYTES})\s*(?=$|['\"`])"),
    ),
    Format(
        "code",
        "opcode",
        Role.CONTEXT,
        ("]: code: ",),
        (rf"\[(?P<pid>\d+)\]: code: (?P<code>{_BYTES})\s*$"),
        comm=True,
    ),
    Format(
        "code",
        "opcode",
        Role.CONTEXT,
        ("Code: ",),
        (
            r"(?:\bCode: (?:Bad RIP value|Bad PSW|Unable to access opcode bytes at "
            rf"(?:RIP )?0x(?P<unreadable_at>{HEX}))\.)"
        ),
    ),
    Format(
        "code",
        "ppc-bad-nip",
        Role.CONTEXT,
        ("Bad NIP, not dumping",),
        (r"\[(?P<pid>\d+)\]: Bad NIP, not dumping instructions"),
        comm=True,
    ),
    Format(
        "code",
        "callbacks-suppressed",
        Role.CONTEXT,
        ("backs suppressed",),
        (
            r"\b(?:do_trap|do_error_trap|do_general_protection|show_signal|show_signal_msg|arm64_show_signal|"
            r"arm64_notify_segfault|report_user_fault|__ratelimit): (?P<suppressed>\d+) callbacks suppressed"
        ),
    ),
)
