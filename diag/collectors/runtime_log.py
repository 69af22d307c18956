"""What runtimes and servers write when they catch the signal of their own death.

The kernel writes no line then: it tells only of signals that nobody handles (unhandled_signal() of
kernel/signal.c).
"""

from __future__ import annotations

from diag.collectors.crash_format import HEX, Format
from diag.model.crash import Role


def _death(form: str, needle: str, pattern: str, *, anywhere: bool = True, **fixed: int | str) -> Format:
    return Format("app", form, Role.REPORT, (needle,), pattern, fixed=fixed, anywhere=anywhere)


FORMATS = (
    # The JVM's src/hotspot/share/utilities/vmError.cpp; what the frame below it says comes with it.
    _death(
        "jvm", " at pc=0x",
        rf"#\s+(?P<signal>SIG[A-Z]+) \(0x{HEX}\) at pc=0x(?P<ip>{HEX}), pid=(?P<pid>\d+), tid=(?P<tid>\w+)",
        anywhere=False, program="java",
    ),
    # Node's src/node_errors.cc: V8's own limit, not the machine's memory.
    _death(
        "node", "avaScript heap out",
        r"FATAL ERROR: (?P<error_text>\S.{1,200} - JavaScript heap out of memory)\s*$",
        anywhere=False, signal=6, program="node",
    ),
    # Go's src/runtime/panic.go; what was recovered from is not printed so.
    _death(
        "go", "[signal SIG",
        rf"\[signal (?P<signal>SIG[A-Z]+)(?:: [a-z ]+)? code=0x(?P<code>{HEX}) addr=0x(?P<address>{HEX}) "
        rf"pc=0x(?P<ip>{HEX})\]",
        anywhere=False,
    ),
    # Ruby's signal.c and error.c.
    _death(
        "ruby", "[BUG] ",
        r"(?:^|\s)(?:(?P<file>\S+:\d+): )?"
        r"\[BUG\] (?P<signal>Segmentation fault|Bus Error|Illegal instruction)"
        rf"(?: at 0x(?P<address>{HEX}))?\s*$",
    ),
    # MySQL's and MariaDB's sql/signal_handler.cc.
    _death("mysqld", "d got signal ", r"\b(?P<program>mysqld|mariadbd) got signal (?P<signal>\d+) ?;\s*$"),
    # Redis's and Valkey's src/debug.c.
    _death("redis", "ed by signal: ", r"# +(?:Redis|Valkey|KeyDB) \S+ crashed by signal: (?P<signal>\d+)\b"),
    # Samba's lib/util/fault.c.
    _death(
        "samba", "L ERROR: ", r"INTERNAL ERROR: [Ss]ignal (?P<signal>\d+)\b.{0,300}? pid (?P<pid>\d+) \("
    ),
)  # fmt: skip
