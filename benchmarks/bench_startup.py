"""diag --version and --help beside a bare import of click: whole processes, warm, medians of one run.

python benchmarks/bench_startup.py [--rounds 21]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c 'import click'": ("-c", "import click"),
    "diag --version": ("-m", "diag", "--version"),
    "diag --help": ("-m", "diag", "--help"),
    "diag locks --help": ("-m", "diag", "locks", "--help"),
}


def main() -> None:
    """Take turns, so that a busy moment of the machine hits all alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(found) for name, found in times.items()}
    base = next(iter(medians.values()))
    print("| command | median | ratio |\n| --- | --- | --- |")
    for name, median in medians.items():
        print(f"| `{name}` | {median * 1000:.0f} ms | {median / base:.2f} |")


if __name__ == "__main__":
    main()
