"""diag locks beside fuser, lsof and lslocks: whole processes, warm, medians of one run.

    python benchmarks/bench_locks.py [--rounds 7] [--processes 1000] [--files 100] [--locks 100]

Every process has the same number of files open; some hold a lock. The question is who has to do with one
of the locked files, which nobody waits for. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

CROWD = """
import fcntl, os, signal, sys
home, processes, files, locks = sys.argv[1], *map(int, sys.argv[2:])
for number in range(processes):
    if number + 1 < processes and os.fork():
        continue
    kept = [open(f"{home}/{number % 10}-{name}", "a") for name in range(files - 3 - (number < locks))]
    if number < locks:
        lock = open(f"{home}/lock-{number}", "a")
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(1, b".")
    while True:
        signal.pause()
"""


def main() -> None:
    """Start the crowd, ask everybody in turn, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--locks", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        numbers = [str(n) for n in (arguments.processes, arguments.files, arguments.locks)]
        crowd = subprocess.Popen(
            [sys.executable, "-S", "-c", CROWD, home, *numbers],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert crowd.stdout
            crowd.stdout.read(arguments.processes)  # one byte from each that is ready
            measure(f"{home}/lock-0", arguments.rounds, " x ".join(numbers))
        finally:
            os.killpg(crowd.pid, 9)
            crowd.wait()


def measure(path: str, rounds: int, scene: str) -> None:
    """Ask each program ``rounds`` times, in turn, so that all meet the same load; print their medians."""
    programs = {
        "diag locks PATH": [sys.executable, "-m", "diag", "locks", path],
        "fuser PATH": ["fuser", path],
        "lsof PATH": ["lsof", path],
        "lslocks": ["lslocks"],
    }
    found = {name: argv for name, argv in programs.items() if shutil.which(argv[0])}
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, argv in found.items():
            start = time.perf_counter()
            subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    print(f"processes x open files x locks: {scene}; {os.cpu_count()} cores; medians of {rounds}\n")
    print("| program | seconds | to diag |")
    print("| --- | --- | --- |")
    for name, seconds in medians.items():
        print(f"| `{name}` | {seconds:.2f} | {seconds / medians['diag locks PATH']:.2f} x |")


if __name__ == "__main__":
    main()
