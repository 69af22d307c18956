"""What a core does not hold, said in gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diag.investigate.wait_chains import CHAIN_RULES
from diag.model.facts import Gap
from diag.rules.blocked_event_loop import loop_around

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diag.host import CoreView
    from diag.model.core import CoreImage
    from diag.model.snapshot import SeenThread

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


def of_moments(threads: Iterable[SeenThread]) -> Iterator[Gap]:
    """Say of what only counts when it lasts that a core shows one moment."""
    threads = tuple(threads)
    several = sum(seen.stack is not None for seen in threads) > 1
    for seen in threads:
        wait = seen.wait
        if wait is None or seen.stack is None or wait.resource.kind in _AT_WORK:
            continue
        who = f"thread {seen.thread.tid}"
        if several and seen.stack.owns_gil and seen.thread.syscall is not None:
            yield Gap(
                source=who,
                hides=f"whether it kept the interpreter lock (GIL) for long: it {wait.words}, and has it",
                reason="a core shows one moment",
                hint="take another core a moment later, or look at the next one while it lives: diag why PID",
                blinds=frozenset({"T007"}),
            )
        if loop := loop_around(seen.stack.frames):
            yield Gap(
                source=who,
                hides=f"whether it held up its event loop ({loop}) for long: in a callback it {wait.words}",
                reason="a core shows one moment",
                hint="take another core a moment later, or look at the next one while it lives: diag why PID",
                blinds=frozenset({"T006"}),
            )


_AT_WORK = frozenset(
    {"cpu", "gil", "epoll", "io_uring", "unknown", "ended", "stopped", "traced", "frozen", "collect"}
)


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
