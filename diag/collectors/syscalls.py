"""Numbers of the system calls that a thread can wait in, by architecture.

From arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h, which aarch64 and
riscv64 share.
"""

from __future__ import annotations

_X86_64 = (
    "0 read 1 write 7 poll 16 ioctl 17 pread64 18 pwrite64 19 readv 20 writev 22 pipe 23 select 34 pause"
    " 35 nanosleep 42 connect 43 accept 44 sendto 45 recvfrom 46 sendmsg 47 recvmsg 61 wait4 65 semop"
    " 69 msgsnd 70 msgrcv 72 fcntl 73 flock 74 fsync 75 fdatasync 128 rt_sigtimedwait 130 rt_sigsuspend"
    " 202 futex 208 io_getevents 219 restart_syscall 220 semtimedop 230 clock_nanosleep 232 epoll_wait"
    " 242 mq_timedsend 243 mq_timedreceive 247 waitid 257 openat 2 open 262 newfstatat 4 stat 5 fstat"
    " 270 pselect6 271 ppoll 275 splice 276 tee 281 epoll_pwait 288 accept4 295 preadv 296 pwritev"
    " 299 recvmmsg 307 sendmmsg 332 statx 426 io_uring_enter 437 openat2 441 epoll_pwait2"
    " 449 futex_waitv 455 futex_wait 162 sync 306 syncfs 40 sendfile 78 getdents 217 getdents64"
    " 3 close 6 lstat 8 lseek 9 mmap 11 munmap 21 access 26 msync 56 clone 58 vfork 59 execve 76 truncate"
    " 77 ftruncate 80 chdir 81 fchdir 82 rename 83 mkdir 84 rmdir 87 unlink 89 readlink 90 chmod 91 fchmod"
    " 92 chown 93 fchown 132 utime 137 statfs 138 fstatfs 188 setxattr 191 getxattr 192 lgetxattr"
    " 194 listxattr 231 exit_group 258 mkdirat 260 fchownat 263 unlinkat 264 renameat 267 readlinkat"
    " 268 fchmodat 269 faccessat 280 utimensat 285 fallocate 316 renameat2 322 execveat"
    " 326 copy_file_range 435 clone3 439 faccessat2"
)
_GENERIC = (
    "22 epoll_pwait 25 fcntl 29 ioctl 32 flock 56 openat 61 getdents64 62 lseek 63 read 64 write"
    " 65 readv 66 writev 67 pread64 68 pwrite64 69 preadv 70 pwritev 71 sendfile 72 pselect6 73 ppoll"
    " 76 splice 77 tee 79 newfstatat 80 fstat 81 sync 82 fsync 83 fdatasync 95 waitid 98 futex"
    " 101 nanosleep 115 clock_nanosleep 128 restart_syscall 133 rt_sigsuspend 137 rt_sigtimedwait"
    " 182 mq_timedsend 183 mq_timedreceive 188 msgrcv 189 msgsnd 192 semtimedop 193 semop 202 accept"
    " 203 connect 206 sendto 207 recvfrom 211 sendmsg 212 recvmsg 242 accept4 243 recvmmsg 260 wait4"
    " 267 syncfs 269 sendmmsg 291 statx 426 io_uring_enter 437 openat2 441 epoll_pwait2"
    " 449 futex_waitv 455 futex_wait 4 io_getevents"
    " 5 setxattr 8 getxattr 9 lgetxattr 11 listxattr 34 mkdirat 35 unlinkat 38 renameat 43 statfs"
    " 44 fstatfs 45 truncate 46 ftruncate 47 fallocate 48 faccessat 49 chdir 50 fchdir 52 fchmod 53 fchmodat"
    " 54 fchownat 55 fchown 57 close 78 readlinkat 88 utimensat 94 exit_group 215 munmap 220 clone"
    " 221 execve 222 mmap 227 msync 276 renameat2 281 execveat 285 copy_file_range 435 clone3"
    " 439 faccessat2"
)


def _table(text: str) -> dict[int, str]:
    words = text.split()
    return {int(number): name for number, name in zip(words[::2], words[1::2], strict=True)}


_TABLES = {"x86_64": _table(_X86_64), "aarch64": _table(_GENERIC), "riscv64": _table(_GENERIC)}


# What a sleep goes on with after a debugger or a stop signal, told by the kernel function it sleeps in:
# the registers still hold the arguments of the first call (restart_syscall(2)).
_RESUMED = (
    ("poll", "poll"),  # poll_schedule_timeout
    ("do_sys_poll", "poll"),
    ("futex", "futex"),  # futex_do_wait, futex_wait_queue, futex_wait_queue_me
)


def resumed(wchan: str | None, arguments: tuple[int, ...]) -> str | None:
    """Name the call that restart_syscall goes on with; None when it cannot be told."""
    if wchan is None:
        return None
    if "nanosleep" in wchan:  # hrtimer_nanosleep; clock_nanosleep's first argument is a small clock id
        return "clock_nanosleep" if arguments and arguments[0] < 16 else "nanosleep"
    return next((name for part, name in _RESUMED if part in wchan), None)


def name_of(number: int, machine: str) -> str | None:
    """Name a system call; None when the architecture or the number is not in the tables."""
    return _TABLES.get(machine, {}).get(number)
