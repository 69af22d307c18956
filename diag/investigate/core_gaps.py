"""What a core does not hold, said in gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate.wait_chains import CHAIN_RULES
from diag.model.facts import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.host import CoreView
    from diag.model.core import CoreImage
    from diag.model.snapshot import SeenThread

FILE_RULES = frozenset(f"L{n:03}" for n in range(1, 9))
CRASH_RULES = frozenset({"C001", "C002", "C004", "C005", "C006", "C010"})


def of_core(image: CoreImage) -> Iterator[Gap]:
    """Say what no core holds, and what this one lacks."""
    for what in image.missing:
        yield Gap(
            source=image.path,
            hides=what,
            reason="it is not in the core, or not in a form that is known",
            hint="gdb PROGRAM CORE may still make sense of it",
            blinds=CHAIN_RULES | CRASH_RULES,
        )
    if image.size < image.expected:
        yield Gap(
            source=image.path,
            hides="part of the process's memory",
            reason=f"the core is cut short: it has {image.size} of {image.expected} bytes",
            hint="raise what cut it: ulimit -c unlimited, room on the disk, ProcessSizeMax= and "
            "ExternalSizeMax= in /etc/systemd/coredump.conf",
            blinds=CHAIN_RULES | CRASH_RULES,
        )
    yield Gap(
        source=image.path,
        hides="file locks, open files, pipes and sockets, and what other processes did",
        reason="a core holds the memory and registers of one process only",
        hint="look at the next one while it lives: diag why PID",
    )


def of_waits(threads: Iterable[SeenThread]) -> Iterator[Gap]:
    """Say of a thread that waits for a file lock that a core cannot tell who has it."""
    for seen in threads:
        call = seen.thread.syscall
        if call is None or seen.wait is None or call.name not in _OUTSIDE:
            continue
        if call.name == "fcntl" and call.arguments[1] not in _LOCKS:
            continue
        yield Gap(
            source=f"thread {seen.thread.tid}",
            hides=f"who holds what it {seen.wait.words}",
            reason="a core holds no table of file locks and no descriptors",
            hint="look at the next one while it lives: diag locks, diag why PID",
            blinds=FILE_RULES,
        )


_OUTSIDE = frozenset({"flock", "fcntl"})
_LOCKS = (7, 38)  # F_SETLKW, F_OFD_SETLKW: include/uapi/asm-generic/fcntl.h


def unread(view: CoreView, image: CoreImage) -> Iterator[Gap]:
    """Say which files' memory was wanted and is not to be had."""
    states = {one.path: one.now for one in image.modules}
    for path in view.unread():
        now = states.get(path, "missing")
        reason = {
            "replaced": "the file there is another one now (its build id differs)",
            "missing": "the core leaves it out, and the file is not here",
        }.get(now, "the core leaves it out, and the file cannot be read")
        yield Gap(
            source=path,
            hides=f"what was mapped from {path}",
            reason=reason,
            hint="bring the files of the core's machine and name their directory: diag core CORE --root DIR",
            blinds=CHAIN_RULES | CRASH_RULES,
        )
