"""diag scan on a full host: 1,000 processes with 5,000 threads, most of them idle, some stuck.

    python benchmarks/bench_scan.py [--rounds 3] [--processes 1000] [--threads 5] [--python 100]

There is no peer: beside it stands the time that one bare pass over task/*/syscall takes. The memory is
the peak of diag itself, as the kernel counts it (ru_maxrss).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# One program forks them all: threads first would be copied by nobody, so each child starts its own.
IDLE = """
import os, sys, threading
processes, threads = int(sys.argv[1]), int(sys.argv[2])
for _ in range(processes):
    if not os.fork():
        for _ in range(threads - 1):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Event().wait()
print("ready", flush=True)
threading.Event().wait()
"""

# The same as any C daemon looks: the interpreter's name and maps are what tells Python from others.
NATIVE = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static void *idle(void *x) { pthread_mutex_lock(&m); for (;;) pthread_cond_wait(&c, &m); return x; }
int main(int n, char **argv) {
    for (int i = 0; i < atoi(argv[1]); i++)
        if (!fork()) {
            pthread_t t;
            for (int k = 1; k < atoi(argv[2]); k++) pthread_create(&t, NULL, idle, NULL);
            idle(NULL);
        }
    puts("ready"); fflush(stdout); pause();
}
"""

STUCK = """
import threading
a, b = threading.Lock(), threading.Lock()
both = threading.Barrier(2)
def take(one, two):
    with one:
        both.wait()
        with two:
            pass
threading.Thread(target=take, args=(a, b), daemon=True).start()
threading.Thread(target=take, args=(b, a), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def started(*argv: str) -> Iterator[None]:
    """Run a program and all its children until the block ends."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def compiled(directory: str) -> str:
    """Build the native program."""
    path = f"{directory}/idle"
    subprocess.run(["gcc", "-pthread", "-x", "c", "-", "-o", path], input=NATIVE.encode(), check=True)
    return path


def bare_pass() -> tuple[float, int, int]:
    """Read every task/*/syscall once: seconds, processes, threads."""
    begin, processes, threads = time.perf_counter(), 0, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        processes += 1
        with contextlib.suppress(OSError):
            for tid in os.listdir(f"/proc/{pid}/task"):
                threads += 1
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/syscall", "rb") as file:
                    file.read()
    return time.perf_counter() - begin, processes, threads


def scan() -> tuple[float, list[str]]:
    """Run diag scan once: seconds, codes found."""
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "diag", "scan", "--format", "json"], capture_output=True, check=False
    )
    spent = time.perf_counter() - begin
    return spent, [finding["code"] for finding in json.loads(done.stdout)["findings"]]


def main() -> None:
    """Make a full host, and scan it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=5)
    parser.add_argument("--python", type=int, default=100, help="how many of the processes run Python")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        native = options.processes - options.python
        stack.enter_context(started(compiled(directory), str(native), str(options.threads)))
        stack.enter_context(started(sys.executable, "-c", IDLE, str(options.python), str(options.threads)))
        with open(f"{directory}/stuck.py", "w", encoding="utf-8") as file:
            file.write(STUCK)  # a file: which line holds a lock, only its source tells
        stack.enter_context(started(sys.executable, file.name))
        time.sleep(3)
        bare, processes, threads = bare_pass()
        rounds = [scan() for _ in range(options.rounds)]
    times = [spent for spent, _ in rounds]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{processes} processes, {threads} threads, {options.python} of the processes run Python\n")
    print("| what | median | worst |\n| --- | --- | --- |")
    print(f"| one bare pass over task/*/syscall | {bare:.2f} s | |")
    print(f"| diag scan | {statistics.median(times):.2f} s | {max(times):.2f} s |")
    print(f"\npeak memory of one process: {peak:.0f} MiB; found: {', '.join(sorted(set(rounds[0][1])))}")


if __name__ == "__main__":
    main()
