"""diag stacks beside py-spy, pystack and gdb: whole processes, warm, medians of one run.

    python benchmarks/bench_stacks.py [--rounds 7] [--workers 100] [--threads 500]

Peers that are not installed are left out. Prints one markdown table a scene.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TREE = """
import os, sys, threading, time
for _ in range(int(sys.argv[1])):
    if not os.fork():
        threading.Event().wait(10000)
print("ready", flush=True)
time.sleep(10000)
"""

# The longest gap between two ticks is the longest time that the process was stopped.
TICKS = """
import sys, threading, time
for _ in range(int(sys.argv[1])):
    threading.Thread(target=time.sleep, args=(10000,), daemon=True).start()
worst = [0.0]
def tick():
    last = time.perf_counter()
    while True:
        time.sleep(0.0005)
        now = time.perf_counter()
        worst[0] = max(worst[0], now - last)
        last = now
threading.Thread(target=tick, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    print(worst[0], flush=True)
    worst[0] = 0.0
"""


def main() -> None:
    """Run the three scenes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--threads", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        # Compiled modules are part of every installation, whatever this shell's settings are.
        os.environ["PYTHONPYCACHEPREFIX"] = cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        with target(TREE, 0) as process:
            scene("one idle process", commands(process.pid), arguments.rounds)
        with target(TREE, arguments.workers) as process:
            tree(process.pid, arguments)
        with target(TICKS, arguments.threads) as process:
            stops(process, arguments)


@contextlib.contextmanager
def target(program: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Run a program until it is ready; end it with its children."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def commands(pid: int) -> dict[str, list[list[str]]]:
    """Name -> the commands that look at one process once."""
    beside = os.path.dirname(sys.executable)
    path = os.pathsep.join((beside, os.environ.get("PATH", "")))
    found: dict[str, list[list[str]]] = {}
    for name, argv in (
        ("py-spy dump", ["py-spy", "dump", "--pid", str(pid)]),
        ("py-spy dump --locals --json", ["py-spy", "dump", "--locals", "--json", "--pid", str(pid)]),
        ("diag stacks", ["-m", "diag", "stacks", str(pid)]),
        ("diag stacks --no-pause", ["-m", "diag", "stacks", "--no-pause", str(pid)]),
        ("pystack remote", ["pystack", "remote", str(pid)]),
        ("gdb thread apply all bt", ["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt"]),
    ):
        program = sys.executable if argv[0] == "-m" else shutil.which(argv[0], path=path)
        if program:
            found[name] = [[program, *argv[1:]] if argv[0] != "-m" else [program, *argv]]
    return found


def seconds(argvs: Sequence[Sequence[str]]) -> float:
    """Run commands one after the other; return how long all of them took."""
    started = time.perf_counter()
    for argv in argvs:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        # diag's 3 and 4 are answers, too.
        assert done.returncode in (0, 3, 4), f"{argv}: {done.stderr}"
    return time.perf_counter() - started


def scene(title: str, looks: dict[str, list[list[str]]], rounds: int) -> None:
    """Measure all commands in turns and print their medians."""
    times: dict[str, list[float]] = {name: [] for name in looks}
    for name, argvs in looks.items():
        seconds(argvs)  # warm
        del name
    for _ in range(rounds):
        for name, argvs in looks.items():
            times[name].append(seconds(argvs))
    table(title, {name: statistics.median(values) for name, values in times.items()}, "s")


def table(title: str, values: dict[str, float], unit: str) -> None:
    """Print one markdown table, with each value's ratio to the first."""
    first = next(iter(values.values()))
    print(f"\n| {title} | {unit} | ratio |\n| --- | --- | --- |")
    for name, value in values.items():
        print(f"| {name} | {value:.3f} | {value / first:.1f} |")


def tree(pid: int, arguments: argparse.Namespace) -> None:
    """Compare one look at a tree with py-spy called for each of its processes."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        pids = [pid, *map(int, file.read().split())]
    loop = [commands(one)["py-spy dump"][0] for one in pids]
    looks = {"py-spy dump in a loop": loop, "diag stacks": commands(pid)["diag stacks"]}
    scene(f"a tree of {len(pids)} processes", looks, min(arguments.rounds, 3))


def stops(process: subprocess.Popen[str], arguments: argparse.Namespace) -> None:
    """Measure how long each tool stops a process with many threads, as that process feels it."""
    worst: dict[str, float] = {}

    def felt() -> float:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    time.sleep(0.5)
    felt()
    time.sleep(0.5)
    worst["nobody looks"] = felt()
    for name, argvs in commands(process.pid).items():
        samples = []
        for _ in range(min(arguments.rounds, 3)):
            seconds(argvs)
            samples.append(felt())
        worst[name] = statistics.median(samples)
    table(f"longest stop of a process with {arguments.threads} threads", worst, "s")


if __name__ == "__main__":
    main()
