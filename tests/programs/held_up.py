"""A process that somebody or something keeps from running. argv: traced | disk.

traced   this process traces its child, which is stopped; prints "child PID"
disk     uninterruptible sleep, as with a dead disk: the parent of a vfork()
"""
from __future__ import print_function

import ctypes
import os
import sys
import time

PTRACE_ATTACH = 16


def ready():
    print("ready")
    sys.stdout.flush()


def traced():
    child = os.fork()
    if not child:
        while True:
            time.sleep(1000)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, child, None, None) != 0:
        sys.exit("ptrace: %s" % os.strerror(ctypes.get_errno()))
    os.waitpid(child, 0)
    print("child %d" % child)
    ready()
    time.sleep(1000)


def disk():
    ready()
    # posix_spawn() is vfork() in the C library: the parent sleeps in D state until exec. A FIFO that
    # nobody opens keeps the child from getting there.
    libc = ctypes.CDLL(None, use_errno=True)
    actions = ctypes.create_string_buffer(256)
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawn_file_actions_addopen(actions, 9, sys.argv[2].encode(), os.O_RDONLY, 0)
    argv = (ctypes.c_char_p * 2)(b"true", None)
    pid = ctypes.c_int()
    libc.posix_spawnp(ctypes.byref(pid), b"true", actions, None, argv, None)


{"traced": traced, "disk": disk}[sys.argv[1]]()
