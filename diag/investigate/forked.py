"""Whether a process is a copy of its parent's memory: forked, and not started anew by exec."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diag.investigate.inquiry import Inquiry
    from diag.model.facts import Process
    from diag.model.graph import Actor


def parent_of(inquiry: Inquiry, process: Process) -> Actor | None:
    """The living parent whose memory a process was copied from; None where that is not so, or not seen.

    Every exec lays out memory anew at random (ASLR) and notes where in the auxiliary vector
    (/proc/PID/auxv: AT_SYSINFO_EHDR, AT_RANDOM, AT_PHDR); fork copies it as it is.
    """
    if (known := inquiry.forked_from(process)) is not None:
        return known
    parent = inquiry.process(process.ppid) if process.ppid > 1 else None
    if parent is None or parent.started > process.started:
        return None
    return inquiry.actor(parent.pid) if same_memory(inquiry, process.pid, parent.pid) else None


def same_memory(inquiry: Inquiry, pid: int, other: int) -> bool:
    """Whether two processes are forked from one, so that what they had then lies at the same addresses."""
    own = _vector(inquiry, pid)
    return own is not None and own == _vector(inquiry, other)


def _vector(inquiry: Inquiry, pid: int) -> bytes | None:
    try:
        return inquiry.host.read(f"/proc/{pid}/auxv", 4096) or None
    except OSError:
        return None
