"""diag core beside gdb and pystack on the same cores: whole processes, warm, medians of one run.

    python benchmarks/bench_core.py [--rounds 7] [--threads 100]

The cores are taken here: one of a deadlock of two threads, one of a service with many, both by gcore, and
those of crashes, by the kernel (left out where it pipes cores elsewhere): in C code below Python, the same
in a service of 500 threads, of an extension that releases what it borrowed (needs gcc), and of uWSGI, which
does the same (built once, where its sources can be had).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import suppress
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

CROWD = """
import ctypes, threading
ended = threading.Event()
for number in range(500):
    threading.Thread(target=ended.wait, daemon=True).start()
ctypes.PyDLL(None).PyObject_GetIter(None)
"""

PROGRAMS = Path(__file__).parent.parent / "tests" / "programs"


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
        for title, core, program in cores(Path(directory), arguments.threads):
            scene(title, core, program, arguments.rounds)
            core.unlink()


def cores(directory: Path, threads: int) -> Iterator[tuple[str, Path, str]]:
    """Yield what each core is of, its path, and its program."""
    yield "a deadlock of two threads (gcore)", gcore(directory, DEADLOCK), sys.executable
    yield f"a service of {threads} threads (gcore)", gcore(directory, SERVICE, str(threads)), sys.executable
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    for title, words in (
        ("a crash in C below Python (kernel)", ["-c", CRASH]),
        ("a crash among 500 threads (kernel)", ["-c", CROWD]),
        ("an object released too often (kernel)", over_release(directory)),
    ):
        if path := crash(directory, words):
            yield title, path, sys.executable
    for version in ("2.7", "3.6"):
        if death := uwsgi(version, directory / f"uwsgi-{version}"):
            yield f"uWSGI below Python {version}, which releases too often (kernel)", *death


def uwsgi(version: str, directory: Path) -> tuple[Path, str] | None:
    """Let the uWSGI of the tests die; return core and program, None where it cannot be built or lives."""
    import pytest  # noqa: PLC0415 - only where the tests' tools are installed

    sys.path.insert(0, str(PROGRAMS.parents[1]))
    from tests.support import uwsgi as server  # noqa: PLC0415

    with suppress(pytest.skip.Exception, pytest.fail.Exception, AssertionError):
        directory.mkdir()
        death = server.die(version, directory)
        return death.core, str(death.program)
    return None


def crash(directory: Path, words: Sequence[str | Path]) -> Path | None:
    """Run a program to its death; return its core, if the kernel has left one here."""
    for _ in range(6 if words else 0):  # what is damaged may also make it loop for ever: then once more
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, *words],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(directory)},
                check=False,
                timeout=10,
                stdout=subprocess.DEVNULL,
            )
            return next(directory.glob("core*"), None)
    return None


def over_release(directory: Path) -> list[str | Path]:
    """Compile the faulty extension of the tests; return the program that dies of it; [] without gcc."""
    if not shutil.which("gcc"):
        return []
    options = ["-O1", "-g", "-shared", "-fPIC", f"-I{sysconfig.get_paths()['include']}"]
    subprocess.run(["gcc", *options, "-o", directory / "jobqueue.so", PROGRAMS / "overrelease.c"], check=True)
    return [PROGRAMS / "overrelease.py"]


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


def scene(title: str, core: Path, program: str, rounds: int) -> None:
    """Time everybody on one core, in turn, and print a table."""
    beside = Path(sys.executable).parent
    commands = {
        "diag core": [sys.executable, "-m", "diag", "core", core, "--format", "json"],
        "gdb, thread apply all bt": ["gdb", "-batch", "-ex", "thread apply all bt", program, core],
        "pystack --native --locals": [
            beside / "pystack",
            "core",
            core,
            program,
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
