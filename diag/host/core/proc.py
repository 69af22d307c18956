"""What /proc would have said of the process, written from its core in the kernel's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.host.core.elf import Segment
    from diag.host.core.notes import Mapped
    from diag.model.core import CoreImage, CoreThread

_NAMED = {"[stack]"}


def stat(image: CoreImage, thread: CoreThread | None = None) -> bytes:
    """proc_pid_stat(5); what a core does not know is 0."""
    state = "S" if (thread or image.threads[0] if image.threads else None) and _sleeps(image, thread) else "R"
    tid = thread.tid if thread else image.pid
    fields = [state, image.ppid, *[0] * 15, len(image.threads) or 1, *[0] * 3]
    return f"{tid} ({image.name}) {' '.join(map(str, fields))}\n".encode("utf-8", "surrogateescape")


def _sleeps(image: CoreImage, thread: CoreThread | None) -> bool:
    one = thread or next((each for each in image.threads if each.tid == image.pid), None)
    return bool(one and one.syscall)


def status(image: CoreImage, thread: CoreThread | None = None) -> bytes:
    """proc_pid_status(5), as far as anybody asks."""
    lines = [f"Tgid:\t{image.pid}", f"Pid:\t{thread.tid if thread else image.pid}", f"PPid:\t{image.ppid}"]
    if image.uid is not None:
        lines.append(f"Uid:\t{image.uid}\t{image.uid}\t{image.uid}\t{image.uid}")
    return ("\n".join(lines) + "\n").encode()


def syscall(thread: CoreThread) -> bytes:
    """proc_pid_syscall(5)."""
    if not thread.syscall:
        return b"running\n"
    number, *arguments = thread.syscall
    words = " ".join(hex(value) for value in (*arguments, thread.sp, thread.pc))
    return f"{number} {words}\n".encode()


def maps(segments: Iterable[Segment], files: Mapping[int, Mapped]) -> bytes:
    """proc_pid_maps(5): segments with the files that were mapped at the same place."""
    lines = []
    for segment in sorted(segments, key=lambda one: one.address):
        if segment.kind != 1 or not segment.in_memory:
            continue
        access = "".join(
            letter if segment.flags & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1))
        )
        end = segment.address + segment.in_memory
        file = files.get(segment.address)
        offset, path = (file.offset, file.path) if file else (0, "")
        lines.append(f"{segment.address:x}-{end:x} {access}p {offset:08x} 00:00 0 {path}".rstrip(" "))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
