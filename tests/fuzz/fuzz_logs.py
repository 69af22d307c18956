"""Coverage-guided fuzzing of everything that reads a log: no input may raise, or take long.

    make fuzz                                            a minute, from seeds written from the formats
    .venv/bin/python tests/fuzz/fuzz_logs.py -max_total_time=600 -timeout=10 CORPUS_DIRECTORY

An input that fails is kept in crash-* (libFuzzer's file), and replayed by naming it.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timezone
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["diag"]):
    from diag.collectors.crash_lines import NEEDLES
    from diag.collectors.log_events import Dating, events, in_memory
    from diag.crashes.book import Book
    from diag.crashes.clocks import align
    from diag.crashes.groups import group
    from diag.diagnose import diagnose
    from diag.model.snapshot import Snapshot
    from diag.render.json_crashes import view
    from diag.render.terminal_crashes import section

NOW = 1794380400.0
SEEDS = (
    "Nov 11 07:00:01 h kernel: [123.456789] python[77]: segfault at 1b8 ip 00007f0000001010 "
    "sp 00007f0000f00000 error 4 in libx.so.1[7f0000001000+2000] likely on CPU 3 (core 1, socket 0)\n",
    "traps: app[77] trap divide error ip:7f0000001010 sp:7f24d3ffdc20 error:0 in libx.so[7f0000001000+20]\n",
    "[1.000000] app[7]: segfault at 0 ip 00007f\n   0000001010 sp 00007f0000f00000 error 4\n",
    "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n"
    '  File "/a.py", line 3 in f\n\nExtension modules: a.b (total: 1)\n',
    "[2026-11-11 07:00:01,000: ERROR/MainProcess] Process 'W-1' pid:5 exited with 'signal 11 (SIGSEGV)'\n",
    "User process fault: interruption code 003b ilc:3 in libc.so.6[3ffb2e80000+100000]\n"
    "CPU: 2 PID: 3011 Comm: python3 Not tainted\nUser PSW : 0705200180000000 000003ffb2e81234\n",
    '{"__REALTIME_TIMESTAMP":"1794380400123456","_TRANSPORT":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"5",'
    '"MESSAGE":"app[7]: segfault at 0 ip           (null) sp 7ff0 error 14 in app[400000+1000]"}\n',
    "#  SIGSEGV (0xb) at pc=0x00007f24ea928fc8, pid=70, tid=71\n# Problematic frame:\n# C  [libx.so+0x1]\n",
    "jeu. déc. 3 07:00:01 h x: `app[77]:  segfault at 8 in l[...+18] error 5 ip 7f sp 8 likely on CPU 1 \n"
    "type=SECCOMP msg=audit(1794380400.123:9) : pid=5 comm=a exe=/a sig=SIGSYS arch=x86_64 syscall=ptrace "
    "compat=0 ip=0x7f1\nweb-1 exited with code 139\n",
    "6,1,123456789,-;Out of memory: Killed process 5 (a (b) c) total-vm:9kB, anon-rss:8kB, UID:0\n",
)


def one_input(data: bytes) -> None:
    """Read the bytes as a log, group what is found, judge it and show it."""
    book = Book()
    for event in events("log", in_memory(data), Dating(NOW, timezone.utc, boot=NOW)):
        book.add(event)
    told, _ = align(book.events, timezone.utc)
    snapshot = Snapshot(crashes=told, crash_groups=group(told))
    diagnose(snapshot, command=("diag",), view="segfaults", taken_at=NOW, families="C")
    view(snapshot)
    list(section(snapshot, NOW, verbose=True))


def main() -> None:
    """Write seeds and a dictionary, then let libFuzzer work."""
    with tempfile.TemporaryDirectory() as home:
        words = Path(home, "words")
        quoted = (needle.replace("\\", "\\\\").replace('"', '\\"') for needle in NEEDLES)
        words.write_text("".join(f'"{needle}"\n' for needle in quoted))
        seeds = Path(home, "seeds")
        seeds.mkdir()
        for number, seed in enumerate(SEEDS):
            (seeds / str(number)).write_text(seed)
        atheris.Setup([*sys.argv, f"-dict={words}", str(seeds)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
