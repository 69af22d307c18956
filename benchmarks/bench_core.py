"""diag core beside gdb and pystack on the same cores: whole processes, warm, medians of one run.

    python benchmarks/bench_core.py [--rounds 7] [--threads 100]

The cores are taken here: one of a deadlock of two threads, one of a service with many, both by gcore, and
one of a crash in C code below Python, by the kernel (left out where it pipes cores elsewhere).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEADLOCK = """
import threading, time
one, two = threading.Lock(), threading.Lock()
def run(first, second):
    with first:
        time.sleep(0.3)
        with second: pass
for pair in ((one, two), (two, one)):
    threading.Thread(target=run, args=pair, daemon=True).start()
time.sleep(0.7)
print("ready", flush=True)
time.sleep(1000)
"""

SERVICE = """
import asyncio, decimal, json, queue, socket, sqlite3, ssl, sys, threading, time, xml.dom.minidom
jobs = queue.Queue()
def deep(n):
    return deep(n - 1) if n else jobs.get()
for number in range(int(sys.argv[1])):
    threading.Thread(target=deep, args=(20,), daemon=True, name="worker-%d" % number).start()
time.sleep(1)
print("ready", flush=True)
time.sleep(1000)
"""

CRASH = "import ctypes, decimal, json, ssl, sqlite3; ctypes.string_at(0)"


def main() -> None:
    """Take the cores and run everybody on each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=100)
    arguments = parser.parse_args()
    if not shutil.which("gdb"):
        print("gdb is not installed: nothing to compare with, and no gcore")
        return
    with tempfile.TemporaryDirectory() as directory:
        # Compiled modules are part of every installation, whatever this shell's settings are.
        os.environ["PYTHONPYCACHEPREFIX"] = f"{directory}/cache"
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for title, core in cores(Path(directory), arguments.threads):
            scene(title, core, arguments.rounds)
            core.unlink()


def cores(directory: Path, threads: int) -> Iterator[tuple[str, Path]]:
    """Yield what each core is of, and its path."""
    yield "a deadlock of two threads (gcore)", gcore(directory, DEADLOCK)
    yield f"a service of {threads} threads (gcore)", gcore(directory, SERVICE, str(threads))
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    subprocess.run([sys.executable, "-c", CRASH], cwd=directory, check=False)
    for path in directory.glob("core*"):
        yield "a crash in C below Python (kernel)", path


def gcore(directory: Path, program: str, *words: str) -> Path:
    """Run a program until it is ready, and take its core."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        target = directory / "taken"
        subprocess.run(["gcore", "-o", target, str(process.pid)], capture_output=True, check=True)
        process.kill()
    return directory / f"taken.{process.pid}"


def scene(title: str, core: Path, rounds: int) -> None:
    """Time everybody on one core, in turn, and print a table."""
    beside = Path(sys.executable).parent
    commands = {
        "diag core": [sys.executable, "-m", "diag", "core", core, "--format", "json"],
        "gdb, thread apply all bt": ["gdb", "-batch", "-ex", "thread apply all bt", sys.executable, core],
        "pystack --native --locals": [
            beside / "pystack",
            "core",
            core,
            sys.executable,
            "--native",
            "--locals",
        ],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            took = timed(command)
            if number:  # the first round warms up
                times[name].append(took)
    size = core.stat().st_size >> 20
    print(f"\n{title}, {size} MiB\n\n| tool | seconds | gdb = 1 | processor seconds |")
    print("| --- | --- | --- | --- |")
    middles = {
        name: [statistics.median(column) for column in zip(*took, strict=True)]
        for name, took in times.items()
    }
    base = middles["gdb, thread apply all bt"][0]
    for name, (wall, cpu) in middles.items():
        print(f"| {name} | {wall:.2f} | {wall / base:.2f} | {cpu:.2f} |", flush=True)


def timed(command: Sequence[str | Path]) -> tuple[float, float]:
    """Run a command to its end; return the seconds it took, and those of processors."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begun, cpu


if __name__ == "__main__":
    main()
