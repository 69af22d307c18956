"""What Python's servers and task queues write when one of their workers dies."""

from __future__ import annotations

from diag.collectors.crash_format import HEX, Format
from diag.model.crash import Role

_SIGNAL = r"signal (?P<signal>\d+)"

FORMATS = (
    # billiard/process.py and pool.py (celery); the pid is the process's.
    Format(
        "app",
        "billiard-exit",
        Role.REPORT,
        ("'signal ",),
        (rf"Process '(?P<worker>[^']+)' pid:(?P<pid>\d+) exited with '{_SIGNAL} \("),
        anywhere=False,
    ),
    Format(
        "app",
        "billiard-lost",
        Role.REPORT,
        ("prematurely",),
        (
            r"(?:Task (?P<task>[\w.:-]{1,255})\[[\w-]{1,64}\] raised unexpected: )?"
            r"(?:WorkerLostError(?:\(['\"]|: )|\w: )Worker exited prematurely: "
            rf"{_SIGNAL}(?: \(\w+\))?(?: Job: (?P<job>\d+))?"
        ),
    ),
    # uWSGI core/uwsgi.c and core/master_checks.c. It catches SIGSEGV: there is no kernel line.
    Format(
        "app",
        "uwsgi-segv",
        Role.REPORT,
        ("gmentation ",),
        (r"!!! uWSGI process (?P<pid>\d+) got Segmentation Fault !!!"),
        fixed={"signal": 11},
    ),
    Format(
        "app",
        "uwsgi-died",
        Role.REPORT,
        ("(pid:",),
        (
            r"DAMN ! worker (?P<worker>\d+) \(pid: (?P<pid>\d+)\) died"
            rf"(?:, killed by {_SIGNAL})? :\("
        ),
    ),
    # gunicorn/arbiter.py, several ages.
    Format(
        "app",
        "gunicorn",
        Role.REPORT,
        ("erminate",),
        (rf"Worker with pid (?P<pid>\d+) was terminated due to {_SIGNAL}"),
    ),
    Format(
        "app",
        "gunicorn",
        Role.REPORT,
        ("(pid:",),
        (r"Worker \(pid:(?P<pid>\d+)\) was sent (?P<signal>SIG[A-Z]+\d?)!"),
    ),
    Format(
        "app",
        "gunicorn",
        Role.CONTEXT,
        ("(pid:",),
        (r"Worker \(pid:(?P<pid>\d+)\) exited with code (?P<exitcode>\d+)\b"),
    ),
    Format(
        "app",
        "gunicorn-timeout",
        Role.CONTEXT,
        ("(pid:",),
        (r"WORKER TIMEOUT \(pid:(?P<pid>\d+)\)"),
    ),
    # Python/pylifecycle.c and Modules/faulthandler.c.
    Format(
        "app",
        "python-fatal",
        Role.REPORT,
        ("Fatal Python error: ",),
        (
            r"Fatal Python error: (?P<error_text>(?P<signal_name>Segmentation fault|Aborted|"
            r"Bus error|Illegal instruction|Floating point exception))\s*$"
        ),
        anywhere=False,
    ),
    Format(
        "app",
        "python-fatal",
        Role.REPORT,
        ("Fatal Python error: ",),
        (r"Fatal Python error: (?P<error_text>\S.*?)\s*$"),
        fixed={"signal": 6},
        anywhere=False,
    ),
    Format(
        "app",
        "python-faulthandler",
        Role.CONTEXT,
        ("(most recent call first)",),
        (
            rf"\b(?:Current thread|Thread) 0x(?P<thread>{HEX})(?: \[.*?\])? "
            r"\(most recent call first\):"
        ),
    ),
    # torch/utils/data/_utils/signal_handling.py.
    Format(
        "app",
        "torch-dataloader",
        Role.REPORT,
        ("killed by",),
        (
            r"DataLoader worker \(pid\(?s?\)? (?P<pid>\d+)\) is killed by signal: "
            r"(?P<signal>[A-Z][A-Za-z /]+)\b"
        ),
    ),
    # concurrent.futures and joblib/loky do not tell the signal.
    Format(
        "app",
        "other",
        Role.REPORT,
        ("erminate",),
        (
            r"(?:BrokenProcessPool: A process in the process pool was terminated abruptly|"
            r"TerminatedWorkerError: A worker process managed by the executor was unexpectedly)"
        ),
    ),
    # glibc malloc/malloc.c, malloc_printerr(); older ages wrap it in "*** Error in ... ***".
    Format(
        "app",
        "glibc",
        Role.REPORT,
        ("*** Error in `", "d ***"),
        (
            r"\*\*\* (?:Error in `(?P<exe>[^']{1,255})'|glibc detected \*\*\* (?P<command>\S{1,255})): "
            rf"(?P<error_text>.{{1,200}}?): 0x(?P<pointer>{HEX}) \*\*\*"
        ),
        fixed={"signal": 6},
    ),
    Format(
        "app",
        "glibc",
        Role.REPORT,
        ("(): ", "orrupt"),
        (
            r"(?P<error_text>(?:free|malloc|realloc|calloc|malloc_consolidate|munmap_chunk|"
            r"tcache_\w+)\(\): [a-z][a-z_> -]{1,80}(?:\([a-z !]{1,40}\))?(?: [a-z]{1,20}){0,6}(?: \d)?|"
            r"double free or corruption \(\S+\)|"
            r"corrupted size vs\. prev_size(?: [a-z ]+)?|corrupted double-linked list(?: \([a-z ]+\))?)\s*$"
        ),
        fixed={"signal": 6},
        anywhere=False,
    ),
    Format(
        "app",
        "glibc",
        Role.REPORT,
        ("d ***",),
        # debug/fortify_fail.c: smashed stacks, and overflows that _FORTIFY_SOURCE notices.
        (
            r"\*\*\* (?:(?:stack smashing|buffer overflow) detected \*\*\*: (?:(?P<command>.+?) )?terminated|"
            r"(?P<error_text>invalid %N\$ use|%n in writable segments?) detected \*\*\*)"
        ),
        fixed={"signal": 6},
        anywhere=False,
    ),
    # sysdeps/posix/libc_fatal.c and assert/assert.c since 2.35; for a processor too old it only exits.
    Format(
        "app",
        "glibc",
        Role.REPORT,
        ("al glibc error: ",),
        (r"Fatal glibc error: (?!CPU )(?P<error_text>\S.{1,300}?)\s*$"),
        fixed={"signal": 6},
        anywhere=False,
    ),
)  # fmt: skip
