"""What other servers, supervisors, shells and test runners write when a child of theirs dies."""

from __future__ import annotations

from diag.collectors.crash_format import HEX, Format
from diag.model.crash import Role

_SIGNAL = r"signal (?P<signal>\d+)"
_WORDS = (
    r"(?P<signal>Segmentation fault|Aborted|Bus error|Illegal instruction|"
    r"Floating point exception|Trace/breakpoint trap)"
)


def _report(form: str, needle: str, pattern: str, **fixed: int) -> Format:
    return Format("app", form, Role.REPORT, (needle,), pattern, fixed=fixed)


def _message(form: str, needle: str, pattern: str, **fixed: int) -> Format:
    """Make a format that must stand at the beginning of a message."""
    return _report(form, needle, pattern, **fixed)._replace(anywhere=False)


FORMATS = (
    _report("apache", "xit signal ", r"child pid (?P<pid>\d+) exit signal [A-Z][\w ]+ \((?P<signal>\d+)\)"),
    _report("other", " fault", "seg fault or similar nasty error detected"),
    _report("nginx", "xited on signal ", rf"worker process (?P<pid>\d+) exited on {_SIGNAL}"),
    _report(
        "php-fpm", "xited on signal ",
        rf"\[pool (?P<pool>[^\]]+)\] child (?P<pid>\d+) exited on {_SIGNAL}",
    ),
    _report("other", "xited on signal ", rf"WARNING: process (?P<pid>\d+) exited on {_SIGNAL}"),
    _report("postgres", "erminate", rf"server process \(PID (?P<pid>\d+)\) was terminated by {_SIGNAL}"),
    _report(
        "supervisord", "erminate",
        r"exited: (?P<program>\S+) \(terminated by (?P<signal>SIG[A-Z]+\d?)",
    ),
    _report(
        "oracle", "ORA-24550: ",
        r"ORA-24550: signal received: \[si_signo=(?P<signal>\d+)\].{0,200}?"
        rf"\[si_addr=0x(?P<address>{HEX})\]",
    ),
    # Upstart (init/job_process.c), Dovecot (master/service-process.c), Postfix (master/master_spawn.c),
    # HAProxy (src/mworker.c), Unicorn, PM2 (lib/God.js).
    _report(
        "upstart", "killed by",
        r"(?P<unit>[\w@./-]{1,255}) (?:\(\S+\) )?(?:main|(?:pre|post)-st(?:art|op)) process "
        r"\((?P<pid>\d+)\) killed by (?P<signal>[A-Z]{3,6}) signal",
    ),
    _report(
        "dovecot", "d with signal ",
        rf"service\((?P<service>[\w-]+)\): child (?P<pid>\d+) killed with {_SIGNAL}",
    ),
    _report(
        "postfix", "killed by", rf"warning: process (?P<exe>/\S+) pid (?P<pid>\d+) killed by {_SIGNAL}"
    ),
    _report(
        "haproxy", "xited with code 1",
        r"[Cc]urrent (?:worker|program) (?:'\S+' |#\d+ )?\((?P<pid>\d+)\) exited with code "
        r"(?P<status>1[34]\d) \([A-Z]",
    ),
    _report(
        "unicorn", "Process::Status: pid ",
        r"reaped #<Process::Status: pid (?P<pid>\d+) (?P<signal>SIG[A-Z]+)\b",
    ),
    _report(
        "pm2", "via signal [",
        r"App \[(?P<unit>[^\]]{1,255})\] .{0,80}?exited with code \[\d+\] "
        r"via signal \[(?P<signal>SIG[A-Z]+)\]",
    ),
    # docker compose: 128 and the number of the signal. 137 and 143 are also how it stops containers itself.
    _message(
        "container", "xited with code 1",
        r"(?P<unit>[\w.-]{1,255}) exited with code (?P<status>13[1-69]|159)$",
    ),
    # Shells: bash with a job or script, zsh and fish, a bare message.
    _report("shell", "gmentation ", rf"\bline \d+:?\s+(?P<pid>\d+) {_WORDS}\b"),
    _report("shell", "Aborted ", rf"\bline \d+:?\s+(?P<pid>\d+) {_WORDS}\b"),
    _report("shell", "us error", rf"\bline \d+:?\s+(?P<pid>\d+) {_WORDS}\b"),
    _report("shell", "gmentation ", rf"^\s+(?P<pid>\d+) {_WORDS}\s+\(core dumped\)"),
    _report("shell", "gmentation ", r"^\[\d+\]\s+(?P<pid>\d+) segmentation fault\b", signal=11),
    _report("shell", "gmentation ", r"^\w*sh: segmentation fault  ?(?:\(core dumped\) )?", signal=11),
    _report(
        "shell", "erminate",
        r"^(?:fish: Job \d+, )?'.+' terminated by signal (?P<signal>(?:SIG)?[A-Z]+\d?)\b",
    ),
    _message("other", "Aborted ", r"(?:unable to execute command: )?(?P<signal>Aborted) \(core dumped\)$"),
    # Children of other programs.
    _report("other", "(EE) Caught", r"\[(?P<pid>\d+)\]: \(EE\) Caught signal (?P<signal>\d+) \("),
    _report("other", "killed by", r"Application '[^']+' killed by signal (?P<signal>\d+)"),
    _report("other", "killed by", r"\]: agent was killed by signal: (?P<signal>\d+)"),
    _report("other", "Negsignal.", r"exited with return code Negsignal\.(?P<signal>SIG[A-Z]+)"),
    _report("other", "qemu: unc", r"qemu: uncaught target signal (?P<signal>\d+) \("),
    _report(
        "other", "(interrupted by signal ",
        r"finished with exit code \d+ \(interrupted by signal (?P<signal>\d+)",
    ),
    _report("other", "(Exit code -", r"non-zero exit code \(Exit code -(?P<signal>\d+)\b"),
    _report("other", "*** SIG", r"\*\*\* (?P<signal>SIG[A-Z]+) received at time=\d+ on cpu (?P<cpu>\d+)"),
    _report("other", "; exit=-", r"is dead; exit=-(?P<signal>\d+); pid=(?P<pid>\d+)"),
    _report("other", "killed by", r"TBROK: Test killed by (?P<signal>SIG[A-Z]+)!"),
    _message(
        "terminate", "erminate",
        r"terminate called (?:after throwing an instance of '(?P<exception>[^']{1,255})'|"
        r"(?P<error_text>without an active exception|recursively)\s*$)", signal=6,
    ),
    _report("other", "!!! Segfault", "!!!!!!! Segfault encountered !!!!!!!", signal=11),
    _report("other", "us error", "ERROR: Unexpected bus error encountered in worker", signal=7),
    # Assertions of CPython's own debug checks and of C libraries.
    _report(
        "other", "Assertion ",
        r"\.[ch]:\d+: \w+: Assertion failed: object has negative ref", signal=6,
    ),
    _report("other", "Assertion ", r"\.[ch]:\d+: \w+: Assertion .* failed: refcount is", signal=6),
    _report(
        "other", "Assertion ",
        r"(?<![\w.+-])(?P<program>[\w.+-]{1,255}): (?P<file>[^:\s]+:\d+): "
        r".*Assertion `(?P<error_text>.+?)' failed\.$",
        signal=6,
    ),
    _report("other", "is freed>", rf"^<object at 0x{HEX} is freed>"),
    _message("other", ": assert: !*", r"\*\*\* [\w.]+\.c:\d+:\w+: assert: .* \*\*\*$", signal=6),
)  # fmt: skip
