"""What a core dump says of its process: signal, threads with their registers, mapped files."""

from __future__ import annotations

import re

from diag.model.facts import Fact, Frame


class CoreSignal(Fact, frozen=True, kw_only=True):
    """Why the core was written (siginfo_t, sigaction(2))."""

    number: int  # 0: none, somebody took the core of a living process (gcore); -1: not known
    code: int = 0  # si_code: SI_USER 0, SI_KERNEL 128, SI_TKILL -6, SEGV_MAPERR 1 …
    address: int | None = None  # of the fault; None: this signal has none, or the processor did not tell
    sender: int | None = None  # pid that sent it, by kill(2), tgkill(2) or sigqueue(3)
    sender_uid: int | None = None


class CoreThread(Fact, frozen=True, kw_only=True):
    """One thread: its number and what its registers held."""

    tid: int
    signal: int = 0
    registers: tuple[tuple[str, int], ...] = ()  # names as the processor's manual has them
    pc: int = 0
    sp: int = 0
    tls: int = 0  # what pthread_self() gives: the thread pointer
    syscall: tuple[int, ...] = ()  # number and arguments of the system call it was in; (): in none


class CoreModule(Fact, frozen=True, kw_only=True):
    """One file that was mapped."""

    path: str  # as the process had it
    start: int  # of its first mapping
    end: int  # of its last
    executable: bool = False  # holds code
    build_id: str = ""  # hexadecimal, from the image in memory; "": it has none, or it was not dumped
    now: str = "unknown"  # the file there is today: same, replaced, missing, unknown
    build_id_now: str = ""
    deleted: bool = False  # it had lost its name while the process lived

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def version(self) -> str | None:
        """Its version, as far as its name has it: ``libssl.so.3``, ``libgomp-1.2.0.so``."""
        found = re.search(r"\.so\.(\d[\w.]*)$|-(\d+(?:\.\d+)+)\.so$", self.name)
        return (found[1] or found[2]) if found else None


class CoreImage(Fact, frozen=True, kw_only=True):
    """Everything a core's headers and notes tell. The process chose all of it, or who forged it."""

    path: str
    machine: str  # "x86_64"; "" when it is one we do not know
    pid: int
    ppid: int = 0
    uid: int | None = None
    name: str = ""  # comm, at most 15 bytes
    arguments: tuple[str, ...] = ()  # its command line, secrets masked; where it was not found, its start
    signal: CoreSignal
    threads: tuple[CoreThread, ...] = ()  # the one that took the signal first
    modules: tuple[CoreModule, ...] = ()
    executable: str = ""  # path of the program, as the process had it
    inlined: bool = False  # the interpreter's own file tells which functions were inlined into others
    jumped: bool = False  # the first thread was about to execute what holds no code
    size: int = 0  # bytes of the file
    expected: int = 0  # bytes its headers promise; more than ``size``: it is cut short
    missing: tuple[str, ...] = ()  # what could not be read of it, in words


class BadObject(Fact, frozen=True, kw_only=True):
    """A Python object whose header cannot be true, that the fault led to."""

    address: int
    register: str  # that points to it
    count: int  # its reference count, as it stands
    type_address: int
    why: str  # what cannot be true
    used_as_type: bool = False  # the code had read its type from it, and failed on that


class Suspect(Fact, frozen=True, kw_only=True):
    """A library whose code may have damaged what another stumbled over; the likeliest come first."""

    library: str  # its path
    function: str = ""  # where in it a thread was; "": on no stack
    tid: int | None = None
    score: int = 0
    why: tuple[str, ...] = ()


class CoreFault(Fact, frozen=True, kw_only=True):
    """The instruction that could not be executed, explained."""

    tid: int
    signal: int
    pc: int
    sp: int
    seen: bool = True  # its registers were read: False for processors that are not known, where pc is 0
    address: int | None = None  # that was accessed
    handler: bool = False  # the process had a handler of its own: read from its signal frame
    code: str = ""  # what may be done at pc, as in maps: "r-xp"; "": nothing is mapped there
    library: str | None = None  # file mapped at pc
    offset: int | None = None  # of pc in that file, in bytes
    instruction: str = ""  # "mov eax, dword ptr [rdi + 0x1b8]"
    words: tuple[str, ...] = ()  # what it did, in sentences
    stack: tuple[int, int] | None = None  # the mapping that sp lies in, or the one right above it
    overflowed: bool = False  # the access lies right below the stack
    bad_object: BadObject | None = None
    lockless: bool = False  # it was in the interpreter's own code, and did not have the interpreter lock
    called_from: Frame | None = None  # of a jump to where no code is: who called, by the return address
    said: tuple[tuple[str, str], ...] = ()  # (where, text): last words of an interpreter or C library
