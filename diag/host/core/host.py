"""One core as a host with one process, whose /proc is written from what the core holds."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from diag.host import memory_search
from diag.host.base import READ_LIMIT
from diag.host.core import arguments, elf, modules, notes, pointers, proc
from diag.host.core.memory import CoreMemory
from diag.host.core.unpack import open_core
from diag.host.names import to_path
from diag.host.records import (
    Answers,
    Clock,
    CoreSource,
    FdLink,
    FileId,
    FileStatus,
    FoundWords,
    FreeBlocks,
    Hit,
    HostInfo,
    Logins,
    MappedFile,
    Openers,
    Outcome,
    Unwound,
    inside_info,
)
from diag.model import signals
from diag.model.core import CoreImage, CoreSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diag.host.core.elf import Header, Segment
    from diag.host.core.notes import Told
    from diag.host.live import LiveHost
    from diag.model.core import CoreModule
    from diag.model.io import SysvSet

CORE, PROGRAM, ROOT, LIMITED = "{core}", "{program}", "{root}", "{limited}"
"""Words of a command line that stand for paths of this machine, so that a recording holds none of them."""

_PROC = re.compile(r"/proc/(\d+)(?:/task/(\d+))?/(\w+)(/.*)?\Z")
_INTERPRETER = re.compile(r"libpython\d[^/]*$|/(?:python|pypy)[\d.]*[a-z]*$")
_MANY = 64  # threads: pystack is not asked about more of them (collectors/native_stacks.py)
_NO_LOCKS = "/proc/locks"


class CoreHost:
    """A host whose only process is the one a core was taken of, frozen at that instant.

    Sources, clocks and programs are those of ``host``. Whatever a core does not hold (descriptors,
    locks, other processes) raises ``OSError``.
    """

    def __init__(self, host: LiveHost, source: CoreSource, say: Callable[[float], object]) -> None:
        """``say`` is told how much of a compressed core is unpacked (0 to 1)."""
        self._say = say
        self._host = host
        self._source = source
        self._image: CoreImage | None = None
        self._info = host.info
        self._handle = -1

    @property
    def info(self) -> HostInfo:
        """The machine that looks, with the processor of the one the core came from."""
        return self._info

    def image(self) -> CoreImage:
        """Open the core and read its headers and notes, once.

        Raises ``OSError``: it is not there, may not be read, or is no core (ENOEXEC, with a reason).
        """
        if self._image is None:
            self._open()
            self._image = self._understand()
            self._memory_file = f"/proc/{self._image.pid}/mem"
            self._threads = {one.tid: one for one in reversed(self._image.threads)}
            self._info = inside_info(self._host.info, self._image)
        return self._image

    def close(self) -> None:
        """Let go of the core and of the files it was mapped from."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self._disk.close()

    def _open(self) -> None:
        self._handle, self._size, self._path = open_core(self._source.path, self._say)

    def _pread(self, offset: int, size: int) -> bytes:
        if not 0 <= offset < self._size or size <= 0:
            return b""
        return os.pread(self._handle, size, offset)

    def _understand(self) -> CoreImage:
        self._header = header = elf.parse(self._pread, self._size)
        told = notes.collect(elf.notes(self._pread, header), header.machine)
        self.memory = memory = CoreMemory(self._pread, header.segments, self._size)
        segments = {one.address: one for one in header.segments if one.kind == elf.PT_LOAD}
        self._files = {item.start: item for item in told.files}
        program = _program(told, memory)
        self._disk = modules.Disk(self._source.root or "", (program, self._source.exe or ""))
        segments.update(
            {one.address: one for one in modules.left_out(told.files, segments, memory, self._disk)}
        )
        self._segments = tuple(segments.values())
        spans = modules.spans(told.files, segments)
        found = [modules.describe(span, memory, self._disk) for span in spans]
        inlined = any(
            modules.has_inlined(one.path, one.build_id, self._disk)
            for one in found
            if one.executable and _INTERPRETER.search(one.path) and one.now in ("same", "unknown")
        )
        if inlined and told.signal and not signals.is_snapshot(told.signal) and len(told.threads) <= _MANY:
            self._host.run_soon(pystack())  # it will be asked of a Python that died: it loads meanwhile
        usable = {one.path for one in found if one.now in ("same", "unknown") and not one.deleted}
        memory.add_files(told.files, lambda path: path in usable, self._disk.read)
        return replace(self._join(header, told, program, found), inlined=inlined)

    def _join(self, header: Header, told: Told, program: str, found: list[CoreModule]) -> CoreImage:
        loads = [one for one in header.segments if one.kind == elf.PT_LOAD]
        expected = max((one.offset + one.in_file for one in header.segments), default=0)
        signal = told.signal or CoreSignal(number=told.threads[0].signal if told.threads else signals.UNKNOWN)
        return CoreImage(
            path=self._source.path,
            machine=header.machine,
            pid=told.process.pid,
            ppid=told.process.ppid,
            uid=told.process.uid,
            name=told.process.name,
            arguments=arguments.collect(self.memory, told.process.arguments, _execfn(told)),
            signal=signal,
            threads=told.threads,
            modules=tuple(found),
            executable=program,
            jumped=bool(told.threads and told.threads[0].registers)
            and not _is_code(self._segments, told.threads[0].pc),
            size=self._size,
            expected=expected,
            missing=tuple(_missing(header, told, has_memory=bool(loads))),
        )

    # -- what a host can be asked

    def clock(self) -> Clock:
        """Read the clocks of the machine that looks."""
        return self._host.clock()

    def sleep(self, seconds: float) -> None:
        """Return at once: in a core nothing moves any more."""

    def read(self, path: str, limit: int = READ_LIMIT) -> bytes:
        """Read a file of /proc as the process had it, or a file of the core's machine."""
        if path == _NO_LOCKS:
            return b""  # a core knows of no file lock: the gap is told once, by who looks at it
        if (found := _PROC.match(path)) is None:
            return self._host.read(self._elsewhere(path), limit)
        return self._proc(found, path)[:limit]

    def _proc(self, found: re.Match[str], path: str) -> bytes:
        image = self.image()
        pid, tid, name, rest = int(found[1]), found[2], found[3], found[4]
        thread = self._threads.get(int(tid or pid))
        if (pid != image.pid and not (thread and not tid)) or (tid and thread is None) or rest:
            raise FileNotFoundError(errno.ENOENT, "not in the core", path)
        make: dict[str, Callable[[], bytes]] = {
            "stat": lambda: proc.stat(image, thread if tid else None),
            "status": lambda: proc.status(image, thread if tid else None),
            "syscall": lambda: proc.syscall(thread) if thread else b"running\n",
            "maps": lambda: proc.maps(self._segments, self._files),
            "cmdline": lambda: "\0".join(image.arguments).encode("utf-8", "replace"),
            "comm": lambda: f"{image.name}\n".encode("utf-8", "surrogateescape"),
        }
        if name not in make:
            raise FileNotFoundError(errno.ENOENT, "not in the core", path)
        return make[name]()

    def _elsewhere(self, path: str) -> str:
        if path.startswith("/proc/") or not path.startswith("/"):
            raise FileNotFoundError(errno.ENOENT, "not in the core", path)
        return self._disk.where(path)

    def read_at(self, path: str, offset: int, size: int) -> bytes:
        """Read memory (/proc/PID/mem), or a piece of a file of the core's machine."""
        self.image()
        if path == self._memory_file:
            return self.memory.read(offset, size)
        return self._host.read_at(self._elsewhere(path), offset, size)

    def find_words(self, pid: int, words: Sequence[int]) -> FoundWords:
        """Search the writable memory of the process for aligned 8-byte words."""
        del pid
        self.image()
        return memory_search.find_in(self._writable(), self.memory.held, words)

    def _writable(self) -> Iterator[tuple[int, int]]:
        for one in self._header.segments:
            if one.kind == elf.PT_LOAD and one.flags & 2 and one.in_file:
                yield one.address, one.address + min(one.in_file, one.in_memory)

    def free_blocks(self) -> FreeBlocks:
        """Follow the free blocks of CPython's small-object allocator."""
        from diag.host.core import pools  # noqa: PLC0415 - loads only when used

        self.image()
        return pools.check(self._writable(), self.memory.held)

    def pointers(self, places: Sequence[tuple[int, int]], targets: Sequence[tuple[int, int]]) -> FoundWords:
        """Search memory for aligned 8-byte words that point into ``targets``."""
        self.image()
        return pointers.find(self.memory.read, places, targets)

    def unwound(self) -> tuple[Unwound, ...]:
        """Walk the stacks of all threads by the tables of the mapped files."""
        image = self.image()
        if image.machine != "x86_64":
            return ()
        from diag.host.core.unwind import unwind  # noqa: PLC0415 - loads only when used

        return unwind(image.threads, image.modules, self.memory.read)

    def unread(self) -> tuple[str, ...]:
        """Files whose memory was wanted and could not be had: they are gone, or other ones now."""
        return tuple(self.memory.wanted)

    def code_words(self, pid: int, address: int, size: int) -> tuple[int, ...]:
        """A core's stacks are unwound instead."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", f"{pid}:{address:#x}+{size}")

    def names(self, path: str) -> tuple[str, ...]:
        """List the threads of the process, or a directory of the core's machine."""
        image = self.image()
        if path == f"/proc/{image.pid}/task":
            return tuple(sorted(str(thread.tid) for thread in image.threads))
        return self._host.names(self._elsewhere(path))

    def link(self, path: str) -> str:
        """Read /proc/PID/exe, /proc/PID/root, or a link of the core's machine."""
        image = self.image()
        if path == f"/proc/{image.pid}/exe" and image.executable:
            return image.executable
        return self._host.link(self._elsewhere(path))

    def status(self, path: str, *, follow: bool = True) -> FileStatus:
        """stat(2) of a file of the core's machine."""
        return self._host.status(self._elsewhere(path), follow=follow)

    def pids(self) -> tuple[int, ...]:
        """The one process."""
        return (self.image().pid,)

    def fds(self, pid: int) -> tuple[FdLink, ...]:
        """No core holds the descriptors."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", f"/proc/{pid}/fd")

    def identity(self, path: str) -> FileId:
        """Name a file of the core's machine."""
        return self._host.identity(self._elsewhere(path))

    def openers(self, files: Sequence[tuple[int, int]]) -> Openers:
        """No core holds the descriptors."""
        del files
        return Openers(found=(), denied=())

    def mapped(self, names: Sequence[str]) -> tuple[MappedFile, ...]:
        """The core's own mappings are told by its ``image``; it knows of no other process."""
        del names
        return ()

    def files_below(self, directories: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
        """Search directories of the core's machine."""
        return self._host.files_below([self._elsewhere(one) for one in directories], names)

    def mentions(self, words: Sequence[str]) -> tuple[int, ...]:
        """A core has no other processes."""
        del words
        return ()

    def unix_peer(self, pid: int, inode: int) -> int:
        """No core holds sockets."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", f"{pid}:{inode}")

    def sysv_semaphores(self, pid: int, semid: int, numbers: Sequence[int]) -> SysvSet:
        """No core holds them."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", f"{pid}:{semid}:{numbers}")

    def same_description(self, pid: int, fd: int, other_pid: int, other_fd: int) -> bool:
        """No core holds the descriptors."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", f"{pid}:{fd} {other_pid}:{other_fd}")

    def run(
        self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"", redact: bool = False
    ) -> Outcome:
        """Run a program on the core: ``{core}``, ``{program}`` and ``{root}`` stand for the paths."""
        program = self._source.exe or self._disk.where(self.image().executable)
        places = {CORE: self._path, PROGRAM: program, ROOT: self._source.root or "/"}
        words = [to_path(_replaced(word, places)) for word in argv]
        if words[:2] == [LIMITED, "pystack"]:
            stdin = "\0".join(words[2:]).encode("utf-8", "surrogateescape")
            words = pystack()
        elif words[0] == LIMITED:
            words[:1] = _limited()
        return self._host.run(words, timeout=timeout, stdin=stdin, redact=redact)

    def search(
        self, path: str, needles: Sequence[str], more: Callable[[bytes], int]
    ) -> Iterator[tuple[Hit, ...]]:
        """Search a file of the machine that looks."""
        return self._host.search(path, needles, more)

    def search_soon(self, paths: Sequence[str], needles: Sequence[str], more: Callable[[bytes], int]) -> None:
        """Tell which files of the machine that looks will be searched next."""
        self._host.search_soon(paths, needles, more)

    def search_output(
        self,
        argv: Sequence[str],
        needles: Sequence[str],
        more: Callable[[bytes], int],
        *,
        timeout: float,
        most: int = 0,
    ) -> Iterator[tuple[Hit, ...]]:
        """Search what a program of the machine that looks prints."""
        return self._host.search_output(argv, needles, more, timeout=timeout, most=most)

    def databases(self, logins: Logins) -> tuple[str, ...]:
        """A core asks nobody."""
        del logins
        return ()

    def query(self, dsn: str, statements: Sequence[str], *, literals: bool = False) -> Answers:
        """A core asks nobody."""
        del statements, literals
        raise FileNotFoundError(errno.ENOENT, "not in the core", dsn)

    def kernel_log(self) -> bytes:
        """The log of the machine that looks says nothing of the core's."""
        raise FileNotFoundError(errno.ENOENT, "not in the core", "kernel log")


def pystack() -> list[str]:
    """The child that reads native stacks; it is told on its standard input of which core."""
    return [*_limited("-S"), "pystack", os.pathsep.join(filter(None, sys.path))]


def _limited(*options: str) -> list[str]:
    return [sys.executable, *options, os.path.join(os.path.dirname(__file__), "limited.py")]


def _replaced(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def _program(told: Told, memory: CoreMemory) -> str:
    """Find the path of the program: the file that its program headers were mapped from (AT_PHDR)."""
    words = dict(_pairs(told.auxv))
    for kind in (notes.AT_PHDR, notes.AT_ENTRY):
        at = words.get(kind, 0)
        for item in told.files:
            if item.start <= at < item.end:
                return item.path.removesuffix(modules.DELETED)
    if address := _execfn(told):
        text = memory.held(address, 4096).partition(b"\0")[0]
        if text.startswith(b"/"):
            return text.decode("utf-8", "replace")
    return told.files[0].path if told.files else ""


def _execfn(told: Told) -> int:
    return dict(_pairs(told.auxv)).get(notes.AT_EXECFN, 0)


def _pairs(auxv: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(auxv) - 15, 16):
        yield int.from_bytes(auxv[at : at + 8], "little"), int.from_bytes(auxv[at + 8 : at + 16], "little")


def _is_code(segments: Iterable[Segment], address: int) -> bool:
    return any(one.flags & 1 and one.address <= address < one.address + one.in_memory for one in segments)


def _missing(header: Header, told: Told, *, has_memory: bool) -> Iterator[str]:
    if header.bits == 32:
        yield "the core of a 32-bit process: only 64-bit ones are read"
    elif not header.machine:
        yield "the core of a processor that is not known"
    if header.cut or not has_memory:
        yield "the table of memory segments"
    if not told.threads:
        yield "the registers of all threads (NT_PRSTATUS)"
    elif not any(thread.registers for thread in told.threads):
        yield "the registers: their form is not known for this processor"
    if not told.has_files:
        yield "the list of mapped files (NT_FILE)"
    if told.signal is None:
        yield "the reason of the signal (NT_SIGINFO)"
    if not told.process.name:
        yield "the name and command line of the process (NT_PRPSINFO)"
