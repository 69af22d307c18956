"""Run a command under a seccomp filter that refuses to look into other processes, as containers do.

forbidden.py COMMAND...
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
ALLOW = 0x7FFF0000
EPERM = 0x00050001  # SECCOMP_RET_ERRNO | EPERM

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
# ptrace, process_vm_readv, kcmp
NUMBERS = {"x86_64": (101, 310, 312), "aarch64": (117, 270, 272)}[os.uname().machine]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, value)


filters = [instruction(LOAD, 0)]
for left, number in enumerate(reversed(NUMBERS)):
    filters.insert(1, instruction(EQUAL, number, if_true=left + 1))
filters += [instruction(RETURN, ALLOW), instruction(RETURN, EPERM)]

libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(filters), b"".join(filters))
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
    raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
    raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP")
os.execvp(sys.argv[1], sys.argv[1:])
