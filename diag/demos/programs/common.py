"""What the demo programs share. They need nothing beyond Python itself.

A program is started with a directory of its own. Its first process directs: it starts the others,
each in its role, says "ready", and waits. When its standard input ends (the demo is over, or diag
was killed), it removes the directory and ends the whole process group, itself included.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PTRACER = 0x59616D61  # prctl(2); "Yama" in ASCII
PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


def play(direct, *roles):
    """Play the role named on the command line; without a name, direct."""
    allow_tracing()
    if len(sys.argv) > 2:
        return {role.__name__: role for role in roles}[sys.argv[2]](sys.argv[1])
    end = direct(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.read()
    if end:  # what a killed process would leave behind
        end()
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def allow_tracing():
    """Let every process of this user look at us, also under Yama's ptrace_scope 1.

    Without Yama the kernel refuses (EINVAL), and the permission is not needed.
    """
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0)


def start(role, directory, **options):
    """Start this same program in another role; return when that has called ``up``."""
    argv = [sys.executable, sys.argv[0], directory, role.__name__]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options)
    if process.stdout.readline() != b"up\n":
        raise SystemExit(f"{role.__name__} died early")
    with open(f"{directory}/cast", "a") as cast:
        cast.write(f"{role.__name__} {process.pid}\n")
    return process


def up():
    """Tell whoever started us that we have done our part so far."""
    os.write(1, b"up\n")


def wait_until_locked(path):
    """Wait until somebody holds a lock on ``path``."""
    while True:
        inode = str(os.stat(path).st_ino) if os.path.exists(path) else "none"
        with open("/proc/locks") as locks:
            if any(line.split()[-3].split(":")[-1] == inode for line in locks):
                return
        time.sleep(0.01)
