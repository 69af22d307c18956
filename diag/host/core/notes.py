"""Notes of a core -> records, as the kernel writes them (elf(5), fs/binfmt_elf.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from diag.host.core import machines
from diag.host.names import to_text
from diag.model.core import CoreSignal, CoreThread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diag.host.core.elf import Note

NT_PRSTATUS, NT_PRPSINFO, NT_AUXV = 1, 3, 6
NT_SIGINFO, NT_FILE, NT_ARM_TLS = 0x53494749, 0x46494C45, 0x401
AT_ENTRY, AT_EXECFN, AT_PHDR = 9, 31, 3
MOST_THREADS = 100_000
MOST_FILES = 200_000
_FAULTS = frozenset({4, 5, 7, 8, 11})  # SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV carry an address
_SI_KERNEL = 128


class Mapped(NamedTuple):
    """One mapping of a file; ``offset`` and the rest in bytes."""

    start: int
    end: int
    offset: int
    path: str


class Process(NamedTuple):
    """What NT_PRPSINFO says."""

    pid: int = 0
    ppid: int = 0
    uid: int | None = None
    name: str = ""
    arguments: str = ""


class Told(NamedTuple):
    """What the notes say together."""

    process: Process
    signal: CoreSignal | None
    threads: tuple[CoreThread, ...]
    files: tuple[Mapped, ...]
    auxv: bytes
    has_files: bool


def collect(notes: Iterable[Note], machine: str) -> Told:
    """Join the notes of one core."""
    process = Process()
    signal: CoreSignal | None = None
    threads: dict[int, CoreThread] = {}
    files: tuple[Mapped, ...] = ()
    auxv, has_files, group = b"", False, 0
    for note in notes:
        if note.name not in ("CORE", "LINUX"):
            continue
        if note.kind == NT_PRSTATUS and len(threads) < MOST_THREADS:
            found = machines.thread(machine, note.data)
            if found:
                threads.setdefault(found.tid, found)
                group = group or found.tid
        elif note.kind == NT_PRPSINFO:
            process = _process(note.data) or process
        elif note.kind == NT_SIGINFO:
            signal = signal or _signal(note.data)
        elif note.kind == NT_AUXV:
            auxv = note.data[:4096]
        elif note.kind == NT_FILE:
            files, has_files = _files(note.data), True
    process = process._replace(pid=process.pid or group)
    return Told(process, signal, tuple(threads.values()), files, auxv, has_files)


def _process(data: bytes) -> Process | None:
    """Struct elf_prpsinfo of 64-bit Linux: pid, ppid, uid, fname, psargs."""
    if len(data) < 136:
        return None
    uid, _, pid, ppid = struct.unpack_from("<IIii", data, 16)
    name, arguments = data[40:56].partition(b"\0")[0], data[56:136].partition(b"\0")[0]
    return Process(max(pid, 0), max(ppid, 0), uid, _text(name), _text(arguments).strip())


def _signal(data: bytes) -> CoreSignal | None:
    """siginfo_t: signo, errno, code, then by signal and code an address or a sender."""
    if len(data) < 32:
        return None
    number, _, code = struct.unpack_from("<iii", data, 0)
    if not 0 <= number < 65:
        return None
    address = sender = uid = None
    if code <= 0:  # from a program: SI_USER, SI_QUEUE, SI_TKILL
        sender, uid = struct.unpack_from("<iI", data, 16)
    elif number in _FAULTS and code != _SI_KERNEL:  # SI_KERNEL: a protection fault without an address
        (address,) = struct.unpack_from("<Q", data, 16)
    return CoreSignal(number=number, code=code, address=address, sender=sender, sender_uid=uid)


def _files(data: bytes) -> tuple[Mapped, ...]:
    """NT_FILE: count, page size, that many (start, end, offset in pages), then as many names."""
    if len(data) < 16:
        return ()
    count, page = struct.unpack_from("<QQ", data, 0)
    count = min(count, MOST_FILES, (len(data) - 16) // 24)
    if not 0 < page <= 1 << 24:
        return ()
    names = data[16 + 24 * count :].split(b"\0", count)
    return tuple(
        Mapped(start, end, offset * page, _text(name))
        for (start, end, offset), name in zip(
            struct.iter_unpack("<QQQ", data[16 : 16 + 24 * count]), names, strict=False
        )
        if start < end < 1 << 64 and offset * page < 1 << 63
    )


def _text(data: bytes) -> str:
    return to_text(data.decode("utf-8", "surrogateescape"))
