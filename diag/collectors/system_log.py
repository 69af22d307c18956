"""What systemd and systemd-coredump write about processes that died of a signal."""

from __future__ import annotations

from diag.collectors.crash_format import Format
from diag.model.crash import Role

UNIT = r"(?<![\w@\\\":.-])(?P<unit>[\w@\\:.-]{1,255}?\.(?:service|scope|socket|mount|swap|timer))"

FORMATS = (
    Format(
        "systemd",
        "exited",
        Role.REPORT,
        ("=killed, ", "=dumped, "),
        (
            rf"{UNIT}: \w+ process exited, code=(?P<code>killed|dumped), "
            r"status=(?P<signal>\d+)/[A-Z]"
        ),
    ),
    Format(
        "systemd",
        "status",
        Role.REPORT,
        ("=killed, ", "=dumped, "),
        (
            r"\b(?:Main PID|Process): (?P<pid>\d+) (?:.* )?"
            r"\(code=(?P<code>killed|dumped), signal=(?P<signal>[A-Z]\w+)\)"
        ),
    ),
    Format(
        "systemd",
        "result",
        Role.CONTEXT,
        ("h result '",),
        (rf"{UNIT}: Failed with result '(?P<result>signal|core-dump|oom-kill|watchdog)'"),
    ),
    Format(
        "systemd",
        "failed-state",
        Role.CONTEXT,
        ("Unit ",),
        (rf"\bUnit {UNIT} entered failed state"),
    ),
    Format(
        "coredump",
        "summary",
        Role.REPORT,
        (") of user ",),
        (
            r"Process (?P<pid>\d+) \((?P<program>.{1,64}?)\) of user (?P<uid>\d+) (?:dumped core|"
            r"terminated abnormally (?:with signal (?P<signal>\d+)/|without)|"
            r"killed by (?P<signal_name>SIG[A-Z]+\d?) - dumping core)"
        ),
        anywhere=False,
    ),
    # src/core/crash-handler.c: the service manager itself.
    Format(
        "systemd",
        "manager",
        Role.REPORT,
        ("Caught <",),
        (r"systemd\[(?P<pid>\d+)\]: Caught <(?P<signal>[A-Z]+)>, "),
        fixed={"program": "systemd"},
    ),
    Format(
        "coredump",
        "started",
        Role.CONTEXT,
        ("ss Core Dump (PID",),
        (r"Started Process Core Dump \(PID (?P<handler>\d+)/UID"),
    ),
    Format(
        "coredump",
        "other",
        Role.CONTEXT,
        ("Core file was truncated",),
        (r"Core file was truncated to (?P<size>\d+) bytes"),
    ),
)
