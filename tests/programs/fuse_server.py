"""A file system of one file, /file, and one process that uses it. argv: CALL HOW DIRECTORY. Needs root and Python 3.

CALL: what the client does, over and over: read, mapped, fault, stat, write, open, list.
HOW: "answers", "slowly" (after 0.3 s), "silent" (from the second read on nobody answers), "locked" (the same, for it
waits for a lock file that another process has).
The mount is in a namespace of its own and ends with the last process in it. Stop the server to make all calls hang.
"""

import ctypes
import fcntl
import mmap
import os
import signal
import stat
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
SIZE = 1 << 20
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, RELEASE, FLUSH = 1, 2, 3, 4, 14, 15, 16, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 26, 27, 28, 29, 36, 42
EIO, ENOSYS, ENOENT = 5, 38, 2


def call(done):
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def attributes(node):
    """struct fuse_attr, include/uapi/linux/fuse.h."""
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o666
    return struct.pack("=6Q10I", node, SIZE, SIZE // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    """The reply to one request: bytes, or an error number."""
    if opcode == INIT:
        major, minor, ahead = struct.unpack_from("=3I", body)
        return struct.pack("=4I2H2I2HI7I", 7, min(minor, 31), ahead, 0, 12, 10, SIZE, 1, 0, 0, 0, *[0] * 7)
    if opcode == LOOKUP:
        if body.rstrip(b"\0") != b"file":
            return ENOENT
        return struct.pack("=4Q2I", 2, 0, 0, 0, 0, 0) + attributes(2)  # valid for 0 s: asked each time
    if opcode in (GETATTR, SETATTR):
        return struct.pack("=Q2I", 0, 0, 0) + attributes(node)
    if opcode in (OPEN, OPENDIR):
        return struct.pack("=Q2I", 1, 0, 0)  # no FOPEN_KEEP_CACHE: each open reads anew
    if opcode == READ:
        _, _, size = struct.unpack_from("=2QI", body)
        return b"x" * size
    if opcode == WRITE:
        _, _, size = struct.unpack_from("=2QI", body)
        return struct.pack("=2I", size, 0)
    if opcode in (FLUSH, RELEASE, RELEASEDIR, READDIR):
        return b""
    return ENOSYS


def serve(fuse, how, directory):
    reads, requests, ready = 0, 0, False
    while True:
        requests += 1
        try:
            request = os.read(fuse, SIZE + 4096)
        except OSError:  # unmounted, or a request was taken back
            return
        _, opcode, unique, node, _, _, _, _ = struct.unpack_from("=IIQQIIII", request)
        reads += opcode == READ
        if not ready and (reads == 2 or requests == 12):  # the client is in its loop
            ready = True
            print("ready")
            sys.stdout.flush()
        if how == "slowly" and opcode == READ:
            time.sleep(0.3)
        if reads > 1 and how == "silent":
            continue
        if reads > 1 and opcode == READ and how == "locked":
            with open(os.path.join(directory, "lock")) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        reply = answer(opcode, node, request[40:])
        error, data = (-reply, b"") if isinstance(reply, int) else (0, reply)
        try:
            os.write(fuse, struct.pack("=IiQ", 16 + len(data), error, unique) + data)
        except OSError:
            pass  # the request was taken back meanwhile


def client(what, path):
    """Uses the file over and over; each round begins with a cold cache."""
    file = os.open(path, os.O_RDWR) if what in ("read", "mapped", "write", "fault") else -1
    if what == "fault":
        LIBC.mmap.restype = ctypes.c_void_p
        address = LIBC.mmap(None, ctypes.c_size_t(SIZE), mmap.PROT_READ, mmap.MAP_PRIVATE, file, ctypes.c_long(0))
        os.close(file)
        file = os.open(path, os.O_RDWR)
    while True:
        if what == "read":
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.pread(file, 4096, 0)
        elif what == "mapped":
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            with mmap.mmap(file, SIZE, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
                memory[0]
        elif what == "fault":  # what is mapped goes out of memory, and each touch brings it back
            LIBC.madvise(ctypes.c_void_p(address), SIZE, mmap.MADV_DONTNEED)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            ctypes.string_at(address, 1)
        elif what == "stat":
            os.stat(path)
        elif what == "write":
            os.pwrite(file, b"y" * 4096, 0)
        elif what == "open":
            os.close(os.open(path, os.O_RDONLY))
        elif what == "list":
            os.listdir(os.path.dirname(path))
        time.sleep(0.02)


def in_child(function, *args):
    pid = os.fork()
    if pid:
        return pid
    try:
        function(*args)
    finally:
        os._exit(0)


def hold(directory):
    with open(os.path.join(directory, "lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        time.sleep(1000)


def main():
    what, how, directory = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if how == "locked":
        print("holder", in_child(hold, directory))
        while not os.path.exists(os.path.join(directory, "lock")):
            time.sleep(0.01)
    call(LIBC.unshare(CLONE_NEWNS))
    call(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    place = os.path.join(directory, "a mount")
    os.mkdir(place)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse
    call(LIBC.mount(b"archive", place.encode(), b"fuse.archive", 0, options.encode()))

    inside = os.fork()
    if not inside:
        os.close(fuse)
        client(what, os.path.join(place, "file"))
    print("client", inside)
    serve(fuse, how, directory)


main()
