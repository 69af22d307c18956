"""diag segfaults beside ripgrep, grep, zgrep and journalctl: whole processes, warm, medians of one run.

    python benchmarks/bench_segfaults.py [--rounds 5] [--size 1024] [--directory /tmp]

The log is made up: ordinary lines of servers, and a crash every 13 MB, the last one near the end. Peers
have the same needles; those that are not installed are left out. Prints one markdown table.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from diag.collectors.crash_lines import NEEDLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    Programs = dict[str, list[str | Path]]

MIB = 1 << 20
REMOTE = "/lib/systemd/systemd-journal-remote"
WORDS = """
session opened for user root by uid connection from accepted publickey port ssh2 starting finished GET POST
/api/v1/items HTTP/1.1 200 404 500 worker celery task succeeded in received kernel audit eth0 link up ready
error warning info debug failed timeout retry process memory cpu disk trap network traps signal state
""".split()  # noqa: SIM905 - as a list it would fill the screen
PROGRAMS = (
    "systemd",
    "sshd",
    "CRON",
    "kernel",
    "nginx",
    "python",
    "celery",
    "gunicorn",
    "dockerd",
    "kubelet",
)
CRASH = (
    "Nov 11 07:00:01 web-01 kernel: [123456.789012] python[{}]: segfault at 1b8 ip 00007f24ea928fc8 "
    "sp 00007f24d3ffdc20 error 4 in libmysqlclient.so.18.0.0[7f24ea8f7000+2de000]\n"
)


def main() -> None:
    """Make the logs, run everybody over them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="MiB of log")
    parser.add_argument("--directory", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as home:
        whole = Path(home, "whole.log")
        write(whole, arguments.size * MIB)
        parts = [Path(home, f"part{number}.log") for number in range(4)]
        for part in parts:
            write(part, arguments.size * MIB // 4)
        needles = Path(home, "needles")
        needles.write_text("\n".join(NEEDLES) + "\n", encoding="utf-8")
        print(f"{arguments.size} MiB, {len(NEEDLES)} needles, {os.cpu_count()} cores, medians\n")
        print("| logs | program | seconds | to its first peer | memory (MiB) |")
        print("| --- | --- | --- | --- | --- |")
        table("1 file", [whole], grep(needles), arguments.rounds)
        table("4 files", parts, grep(needles), arguments.rounds)
        packed = [pack(part) for part in parts]
        table("1 file, .gz", [pack(whole)], zgrep(needles), arguments.rounds)
        table("4 files, .gz", packed, zgrep(needles), arguments.rounds)
        if journal := write_journal(home):
            table("a journal", [journal], JOURNALCTL, arguments.rounds)


def grep(needles: Path) -> Programs:
    """Return the programs that search plain files; the first one is what the others are compared with."""
    return {
        "ripgrep": ["rg", "--no-config", "-n", "-F", "-f", needles],
        "grep -F": ["grep", "-n", "-F", "-f", needles],
    }


def zgrep(needles: Path) -> Programs:
    """Return the programs that search compressed files."""
    return {
        "ripgrep -z": ["rg", "--no-config", "-n", "-z", "-F", "-f", needles],
        "zgrep -F": ["zgrep", "-n", "-F", "-f", needles],
    }


JOURNALCTL: Programs = {
    "journalctl -g segfault": ["journalctl", "--quiet", "_TRANSPORT=kernel", "-g", "segfault", "--file"],
}


def pack(path: Path) -> Path:
    """Compress a file as logrotate does."""
    with Path(f"{path}.gz").open("wb") as file:
        subprocess.run(["gzip", "-c", path], stdout=file, check=True)
    return Path(f"{path}.gz")


def write_journal(home: str, entries: int = 200_000) -> Path | None:
    """Write a journal of kernel messages, one in 10,000 a crash; None where systemd's writer is missing."""
    if not os.access(REMOTE, os.X_OK) or not shutil.which("journalctl"):
        return None
    crash = CRASH.partition("] ")[2].strip()
    records = [
        f"__REALTIME_TIMESTAMP={1_794_380_400_000_000 + number * 1000}\n__MONOTONIC_TIMESTAMP={number}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\n"
        f"MESSAGE={crash.format(number) if number % 10_000 == 0 else f'eth0: link {number} is up'}\n\n"
        for number in range(entries)
    ]
    path = Path(home, "system.journal")
    text = "".join(records).encode()
    subprocess.run([REMOTE, f"--output={path}", "-"], input=text, check=True, capture_output=True)
    return path


def write(path: Path, size: int) -> None:
    """Write a log of ``size`` bytes that ends in the middle of a line."""
    chance = random.Random(7)
    lines = []
    for _ in range(120_000):
        words = " ".join(chance.choices(WORDS, k=chance.randint(5, 18)))
        clock = f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}:{chance.randint(0, 59):02}"
        who = f"{chance.choice(PROGRAMS)}[{chance.randint(100, 99999)}]"
        lines.append(f"Nov {chance.randint(1, 30):2} {clock} web-{chance.randint(0, 20):02} {who}: {words}\n")
    block = "".join(lines).encode()
    with path.open("wb") as file:
        number = 0
        while file.tell() < size:
            file.write(block)
            file.write(CRASH.format(6406 + number).encode())
            number += 1
        file.truncate(size)


def table(name: str, logs: Sequence[Path], peers: Programs, rounds: int) -> None:
    """Print one row a program; rounds alternate, so that a busy moment hits everybody."""
    programs = {
        "diag segfaults": [sys.executable, "-m", "diag", "segfaults", "--format", "json", *logs],
        **{who: [*argv, *logs] for who, argv in peers.items() if shutil.which(argv[0])},
    }
    taken: dict[str, list[float]] = {who: [] for who in programs}
    memory: dict[str, float] = {}
    for _ in range(rounds + 1):  # the first one warms the cache
        for who, argv in programs.items():
            seconds, memory[who] = run(argv)
            taken[who].append(seconds)
    medians = {who: statistics.median(times[1:]) for who, times in taken.items()}
    base = medians.get(next(iter(peers)))
    for who, seconds in medians.items():
        ratio = f"{seconds / base:.2f}" if base else "-"
        print(f"| {name} | {who} | {seconds:.2f} | {ratio} | {memory[who]:.0f} |", flush=True)


def run(argv: Sequence[object]) -> tuple[float, float]:
    """Run a program with its output in a pipe (grep stops at the first match on /dev/null)."""
    before = time.perf_counter()
    process = subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE)
    assert process.stdout
    while process.stdout.read(MIB):
        pass
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # reaped here, for its memory
    return time.perf_counter() - before, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
